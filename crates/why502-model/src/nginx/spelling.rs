//! Slips of the pen.

/// Whether a name is a known one with a slip: a letter too many, too few, wrong, or two in the wrong order; two such slips
/// in a long name.
pub(crate) fn is_slip_of(name: &str, known: &str) -> bool {
    let allowed = match known.len() {
        0..=4 => 0,
        5..=9 => 1,
        _ => 2,
    };
    name != known
        && name.len().abs_diff(known.len()) <= allowed
        && distance(name.as_bytes(), known.as_bytes()) <= allowed
}

/// The optimal string alignment distance.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (row, byte) in left.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let mut best = (rows[row][column] + usize::from(byte != other))
                .min(rows[row][column + 1] + 1)
                .min(next[column] + 1);
            if row > 0 && column > 0 && *byte == right[column - 1] && left[row - 1] == *other {
                best = best.min(rows[row - 1][column - 1] + 1);
            }
            next.push(best);
        }
        rows.push(next);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_seen() {
        for (name, known) in
            [("proxy_passs", "proxy_pass"), ("sever_name", "server_name"), ("lsiten", "listen")]
        {
            assert!(is_slip_of(name, known), "{name}");
        }
        for (name, known) in
            [("proxy_pass", "proxy_pass"), ("root", "boot"), ("passenger_root", "proxy_pass")]
        {
            assert!(!is_slip_of(name, known), "{name}");
        }
    }
}
