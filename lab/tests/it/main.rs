//! The lab as it is called.
