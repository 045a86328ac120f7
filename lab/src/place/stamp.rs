//! Stamps as logs have them, some time ago.

use anyhow::{Result, anyhow, bail};
use jiff::{SignedDuration, Zoned};

/// The stamp of `error:-2h`: as the error log has it, two hours ago.
pub(super) fn stamp(now: &Zoned, wanted: &str) -> Result<String> {
    let (form, offset) = wanted.split_once(':').ok_or_else(|| anyhow!("no offset in time:{wanted}"))?;
    let at = now.checked_add(parse_offset(offset)?)?;
    Ok(match form {
        "error" => at.strftime("%Y/%m/%d %H:%M:%S").to_string(),
        "access" => at.strftime("%d/%b/%Y:%H:%M:%S %z").to_string(),
        "iso" => at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        "day" => at.strftime("%Y%m%d").to_string(),
        _ => bail!("no form of time is called {form:?}"),
    })
}

/// `-2h`, `-90s`, `-3d`.
pub(crate) fn parse_offset(text: &str) -> Result<SignedDuration> {
    let wrong = || anyhow!("{text:?} is no time like -2h");
    let (number, unit) = text.split_at(text.len().checked_sub(1).ok_or_else(wrong)?);
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    Ok(SignedDuration::from_secs(number * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_lie_in_the_past() {
        let now: Zoned = "2026-11-21T03:00:00+00:00[+00:00]".parse().unwrap();
        assert_eq!(stamp(&now, "error:-2h").unwrap(), "2026/11/21 01:00:00");
        assert_eq!(stamp(&now, "access:-1d").unwrap(), "20/Nov/2026:03:00:00 +0000");
        assert!(
            stamp(&now, "error:2").is_err()
                && stamp(&now, "x:-1h").is_err()
                && stamp(&now, "error:-").is_err()
        );
    }
}
