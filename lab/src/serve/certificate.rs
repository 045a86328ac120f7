//! Certificates that sign themselves.

use anyhow::Result;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};

/// A server's side of TLS with a certificate for these names.
pub(super) fn acceptor(names: &[String]) -> Result<SslAcceptor> {
    let (certificate, key) = self_signed(names)?;
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder.set_private_key(&key)?;
    builder.set_certificate(&certificate)?;
    Ok(builder.build())
}

/// A certificate and its key, one after the other.
pub(crate) fn self_signed_pem(names: &[String]) -> Result<String> {
    let (certificate, key) = self_signed(names)?;
    let mut pem = certificate.to_pem()?;
    pem.extend(key.private_key_to_pem_pkcs8()?);
    Ok(String::from_utf8(pem)?)
}

fn self_signed(names: &[String]) -> Result<(X509, PKey<Private>)> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let localhost = "localhost".to_owned();
    let first = names.first().unwrap_or(&localhost);
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_nid(Nid::COMMONNAME, first)?;
    let subject = subject.build();
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let serial = BigNum::from_u32(std::process::id())?.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(&subject)?;
    builder.set_pubkey(&key)?;
    builder.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
    builder.set_not_after(Asn1Time::days_from_now(30)?.as_ref())?;
    let mut alternatives = SubjectAlternativeName::new();
    for name in names.iter().chain(std::iter::once(&localhost)) {
        alternatives.dns(name);
    }
    let alternatives = alternatives.build(&builder.x509v3_context(None, None))?;
    builder.append_extension(alternatives)?;
    builder.sign(&key, MessageDigest::sha256())?;
    Ok((builder.build(), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_bears_its_names() {
        let pem = self_signed_pem(&["app.example.com".to_owned()]).unwrap();
        let certificate = X509::from_pem(pem.as_bytes()).unwrap();
        let names = certificate.subject_alt_names().unwrap();
        assert_eq!(names[0].dnsname(), Some("app.example.com"));
        assert!(PKey::private_key_from_pem(pem.as_bytes()).is_ok());
    }
}
