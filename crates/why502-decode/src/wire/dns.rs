//! Questions to name servers and their answers (RFC 1035), for one name and one kind of address.

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::{A, Aaaa};
use std::net::IpAddr;
use std::str::FromStr as _;

/// The kind of address that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKind {
    /// IPv4 (`A`).
    V4,
    /// IPv6 (`AAAA`).
    V6,
}

/// What a name server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsReply {
    /// The name's addresses of that kind; none: it has other records only.
    Addresses(Vec<IpAddr>),
    /// There is no such name (`NXDOMAIN`).
    NoSuchName,
    /// It will not or cannot say: the code's mnemonic (`SERVFAIL`, `REFUSED`).
    Refused(String),
    /// The answer does not fit into a datagram: it must be asked through TCP.
    Truncated,
    /// These bytes are no answer to that question.
    Unusable,
}

/// The message that asks for a name's addresses, as it goes into a datagram; `None` if the name can be none of the DNS.
pub fn dns_question(id: u16, name: &str, kind: AddressKind) -> Option<Vec<u8>> {
    let name = Name::<Vec<u8>>::from_str(name).ok()?;
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(id);
    message.header_mut().set_rd(true);
    let mut question = message.question();
    question.push((name, rtype(kind), Class::IN)).ok()?;
    Some(question.finish())
}

fn rtype(kind: AddressKind) -> Rtype {
    match kind {
        AddressKind::V4 => Rtype::A,
        AddressKind::V6 => Rtype::AAAA,
    }
}

/// Reads the answer to a question that [`dns_question`] made.
pub fn read_dns_reply(question: &[u8], reply: &[u8]) -> DnsReply {
    let (Ok(question), Ok(reply)) = (Message::from_octets(question), Message::from_octets(reply)) else {
        return DnsReply::Unusable;
    };
    if !reply.is_answer(&question) {
        return DnsReply::Unusable;
    }
    if reply.header().tc() {
        return DnsReply::Truncated;
    }
    match reply.header().rcode() {
        Rcode::NOERROR => addresses(&reply).map_or(DnsReply::Unusable, DnsReply::Addresses),
        Rcode::NXDOMAIN => DnsReply::NoSuchName,
        other => DnsReply::Refused(other.to_string()),
    }
}

/// The addresses of the answer section; the names on the way to them (`CNAME`) are passed over.
fn addresses(reply: &Message<&[u8]>) -> Option<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for record in reply.answer().ok()? {
        let record = record.ok()?;
        if let Ok(Some(four)) = record.to_record::<A>() {
            addresses.push(IpAddr::V4(four.data().addr()));
        } else if let Ok(Some(six)) = record.to_record::<Aaaa>() {
            addresses.push(IpAddr::V6(six.data().addr()));
        }
    }
    Some(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with that code and these addresses.
    fn answer(question: &[u8], rcode: Rcode, addresses: &[[u8; 4]]) -> Vec<u8> {
        let question = Message::from_octets(question).unwrap();
        let mut answer = MessageBuilder::new_vec().start_answer(&question, rcode).unwrap();
        for address in addresses {
            let name = Name::<Vec<u8>>::from_str("app.example.com").unwrap();
            answer.push((name, 60, A::from_octets(address[0], address[1], address[2], address[3]))).unwrap();
        }
        answer.finish()
    }

    fn question() -> Vec<u8> {
        dns_question(7, "app.example.com", AddressKind::V4).unwrap()
    }

    #[test]
    fn addresses_are_read() {
        let reply = answer(&question(), Rcode::NOERROR, &[[10, 0, 0, 5], [10, 0, 0, 6]]);
        let expected = ["10.0.0.5", "10.0.0.6"].map(|address| address.parse().unwrap()).to_vec();
        assert_eq!(read_dns_reply(&question(), &reply), DnsReply::Addresses(expected));
    }

    #[test]
    fn no_name_no_address_and_no_answer_are_three_things() {
        let reply = |rcode| read_dns_reply(&question(), &answer(&question(), rcode, &[]));
        assert_eq!(reply(Rcode::NXDOMAIN), DnsReply::NoSuchName);
        assert_eq!(reply(Rcode::NOERROR), DnsReply::Addresses(Vec::new()));
        assert_eq!(reply(Rcode::SERVFAIL), DnsReply::Refused("SERVFAIL".to_owned()));
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let other = dns_question(8, "app.example.com", AddressKind::V4).unwrap();
        let reply = answer(&other, Rcode::NXDOMAIN, &[]);
        assert_eq!(read_dns_reply(&question(), &reply), DnsReply::Unusable);
        assert_eq!(read_dns_reply(&question(), b"\0\x07"), DnsReply::Unusable);
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        assert_eq!(dns_question(7, "a..b", AddressKind::V6), None);
        assert_eq!(dns_question(7, &"a".repeat(70), AddressKind::V6), None);
    }
}
