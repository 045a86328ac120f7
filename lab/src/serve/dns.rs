//! A name server that knows the names of its zone and denies all others.

use crate::scenario::Backend;
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::thread;

const A: u16 = 1;
const AAAA: u16 = 28;
const NXDOMAIN: u16 = 3;

/// Answers queries for ever.
pub(super) fn serve(backend: &Backend) -> Result<()> {
    let mut servers = Vec::new();
    for address in &backend.listen {
        let socket = UdpSocket::bind(address).with_context(|| address.clone())?;
        let zone = backend.zone.clone();
        servers.push(thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                if let Some(answer) = answer(&query[..length], &zone) {
                    // A client that went away needs no answer.
                    let _ = socket.send_to(&answer, client);
                }
            }
        }));
    }
    for server in servers {
        let _ = server.join();
    }
    Ok(())
}

/// The answer to a query with one question; `None` if it is none.
fn answer(query: &[u8], zone: &BTreeMap<String, Vec<String>>) -> Option<Vec<u8>> {
    let (name, question_end) = question_name(query)?;
    let kind = u16::from_be_bytes([*query.get(question_end)?, *query.get(question_end + 1)?]);
    let question = query.get(12..question_end + 4)?;
    let known = zone.get(&name);
    let addresses: Vec<IpAddr> = known.into_iter().flatten().filter_map(|text| text.parse().ok()).collect();
    let fitting = addresses.iter().filter(|address| kind == if address.is_ipv4() { A } else { AAAA });
    let mut records = Vec::new();
    let mut n_records: u16 = 0;
    for address in fitting {
        let data = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        records.extend([0xc0, 12]);
        records.extend(kind.to_be_bytes());
        records.extend([0, 1, 0, 0, 0, 60, 0, u8::try_from(data.len()).ok()?]);
        records.extend(data);
        n_records += 1;
    }
    let flags: u16 = 0x8580 | if known.is_none() { NXDOMAIN } else { 0 };
    let mut bytes = query.get(..2)?.to_vec();
    bytes.extend(flags.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(n_records.to_be_bytes());
    bytes.extend([0, 0, 0, 0]);
    bytes.extend(question);
    bytes.extend(records);
    Some(bytes)
}

/// The name that is asked for, in lower case, and where it ends.
fn question_name(query: &[u8]) -> Option<(String, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(kind: u8) -> Vec<u8> {
        let mut bytes = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(b"\x03App\x07example\0\0");
        bytes.extend([kind, 0, 1]);
        bytes
    }

    #[test]
    fn names_of_the_zone_have_addresses_and_others_do_not_exist() {
        let zone = BTreeMap::from([("app.example".to_owned(), vec!["10.1.2.3".to_owned()])]);
        let known = answer(&query(1), &zone).unwrap();
        assert_eq!((known[3] & 15, known[7]), (0, 1));
        assert!(known.ends_with(&[10, 1, 2, 3]));
        let other_kind = answer(&query(28), &zone).unwrap();
        assert_eq!((other_kind[3] & 15, other_kind[7]), (0, 0));
        let unknown = answer(&query(1), &BTreeMap::new()).unwrap();
        assert_eq!(unknown[3] & 15, 3);
        assert_eq!(answer(b"short", &zone), None);
    }
}
