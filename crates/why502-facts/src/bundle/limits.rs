//! How large a bundle may be: one from elsewhere may be made to unpack to anything.

use super::BundleError;

/// The most bytes that a bundle may unpack to.
pub(super) const MAX_TOTAL_BYTES: u64 = 64 << 20;
/// The most memory that zstd may ask for to unpack it, as a power of two.
pub(super) const MAX_WINDOW_LOG: u32 = 23;
/// The most facts that a bundle may hold.
pub(super) const MAX_FACTS: usize = 65_536;
/// The most entries that a bundle may have.
pub(super) const MAX_ENTRIES: usize = 16_384;
/// The most bytes that are set aside for an entry because its header says so.
pub(super) const MAX_RESERVED: usize = 1 << 20;

pub(super) fn check_size(total_bytes: u64, n_entries: usize) -> Result<(), BundleError> {
    if total_bytes > MAX_TOTAL_BYTES || n_entries > MAX_ENTRIES {
        return Err(too_large());
    }
    Ok(())
}

pub(super) fn too_large() -> BundleError {
    BundleError::TooLarge { limit_bytes: MAX_TOTAL_BYTES, limit_entries: MAX_ENTRIES }
}

#[cfg(test)]
mod tests {
    use super::super::tests::manifest;
    use super::super::{Bundle, FACTS};
    use super::*;
    use crate::{Answer, Ask, Fact, Stamp};
    use std::io::{self, Read as _};

    /// An archive with one entry of so many zeros.
    fn zeros(name: &str, entry_type: tar::EntryType, size: u64) -> Vec<u8> {
        let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(entry_type);
        header.set_size(size);
        header.set_cksum();
        archive.append(&header, io::repeat(0).take(size)).unwrap();
        archive.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn a_few_bytes_that_unpack_to_many_are_refused() {
        for name in [FACTS, "raw/00001"] {
            let bomb = zeros(name, tar::EntryType::Regular, MAX_TOTAL_BYTES + 1);
            assert!(bomb.len() < 100_000, "{}", bomb.len());
            let error = Bundle::read_archive(bomb.as_slice()).unwrap_err();
            assert!(matches!(error, BundleError::TooLarge { .. }), "{name}: {error}");
        }
        // A name may be as long as an archive says.
        let long = zeros("x", tar::EntryType::GNULongName, 4 * MAX_TOTAL_BYTES);
        assert!(Bundle::read_archive(long.as_slice()).is_err());
    }

    #[test]
    fn a_window_that_needs_much_memory_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.include_contentsize(false).unwrap();
        io::copy(&mut io::repeat(0).take(1 << 20), &mut encoder).unwrap();
        let error = Bundle::read_archive(encoder.finish().unwrap().as_slice()).unwrap_err();
        assert!(matches!(error, BundleError::Unreadable(_)), "{error}");
    }

    #[test]
    fn more_facts_than_a_bundle_may_hold_are_refused() {
        let mut bundle = Bundle::new(manifest());
        let fact = Fact { ask: Ask::Processes, at: Stamp(2), answer: Answer::Absent, micros: None };
        bundle.facts = vec![fact; MAX_FACTS + 1];
        assert!(matches!(bundle.to_entries(), Err(BundleError::TooLarge { .. })));
        let mut entries = Bundle::new(manifest()).to_entries().unwrap();
        entries.insert(FACTS.to_owned(), b"{}\n".repeat(MAX_FACTS + 1));
        assert!(matches!(Bundle::from_entries(&entries), Err(BundleError::TooLarge { .. })));
    }
}
