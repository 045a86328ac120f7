//! System error codes, by meaning instead of by number.

use serde::{Deserialize, Serialize};

macro_rules! errnos {
    ($($variant:ident $number:literal $name:literal [$($words:literal),+] $doc:literal;)+) => {
        /// What a system call failed with.
        ///
        /// Numbers differ between systems (`ECONNREFUSED` is 111 on Linux, 61 on FreeBSD and macOS, 146 on MIPS), and
        /// wordings between C libraries, so a code is recognised by its words first and by its Linux number second.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Errno {
            $(#[doc = $doc] $variant,)+
            /// A code with no meaning of its own here, by its number.
            Other(i32),
        }

        impl Errno {
            /// The code that a Linux kernel means by `number`.
            pub fn from_linux(number: i32) -> Self {
                match number { $($number => Self::$variant,)+ other => Self::Other(other) }
            }

            /// The Linux number of this code.
            pub fn number(self) -> i32 {
                match self { $(Self::$variant => $number,)+ Self::Other(number) => number }
            }

            /// The symbolic name (`ECONNREFUSED`), or `errno` where it has none here.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ Self::Other(_) => "errno" }
            }

            /// The code that the words of a C library mean (glibc, musl, the BSDs); `None` for words that are unknown.
            pub fn from_words(words: &str) -> Option<Self> {
                $(if [$($words),+].iter().any(|known| words.eq_ignore_ascii_case(known)) {
                    return Some(Self::$variant);
                })+
                None
            }

            /// The words of glibc.
            pub fn words(self) -> &'static str {
                match self { $(Self::$variant => first(&[$($words),+]),)+ Self::Other(_) => "Unknown error" }
            }
        }
    };
}

// Wordings: glibc first, then musl's and the BSDs' where they differ (nginx-errors reference, section 2).
errnos! {
    NotPermitted 1 "EPERM" ["Operation not permitted"] "Operation not permitted.";
    NoEntry 2 "ENOENT" ["No such file or directory"] "No such file or directory.";
    TryAgain 11 "EAGAIN" ["Resource temporarily unavailable"] "Would block; a full backlog of a unix socket.";
    NoMemory 12 "ENOMEM" ["Cannot allocate memory", "Out of memory"] "Out of memory.";
    AccessDenied 13 "EACCES" ["Permission denied"] "Permission denied.";
    NotDirectory 20 "ENOTDIR" ["Not a directory"] "A component of the path is no directory.";
    IsDirectory 21 "EISDIR" ["Is a directory"] "The path is a directory.";
    InvalidArgument 22 "EINVAL" ["Invalid argument"] "Invalid argument; a blackhole route.";
    TooManyFilesInSystem 23 "ENFILE" ["Too many open files in system"] "The system's file table is full.";
    TooManyFiles 24 "EMFILE" ["Too many open files", "No file descriptors available"] "The process's file limit is reached.";
    NoSpace 28 "ENOSPC" ["No space left on device"] "The file system is full.";
    ReadOnlyFileSystem 30 "EROFS" ["Read-only file system"] "The file system is mounted read-only.";
    BrokenPipe 32 "EPIPE" ["Broken pipe"] "Wrote to a connection that the peer has closed.";
    ProtocolError 71 "EPROTO" ["Protocol error"] "Protocol error.";
    NotSocket 88 "ENOTSOCK" ["Socket operation on non-socket", "Not a socket"] "The path is no socket.";
    WrongProtocolType 91 "EPROTOTYPE" ["Protocol wrong type for socket"] "The socket is of another type.";
    ProtocolNotAvailable 92 "ENOPROTOOPT" ["Protocol not available"] "ICMP protocol unreachable.";
    AddressFamilyNotSupported 97 "EAFNOSUPPORT"
        ["Address family not supported by protocol", "Address family not supported by protocol family"]
        "The address family is not available.";
    AddressInUse 98 "EADDRINUSE" ["Address already in use", "Address in use"] "The address is taken.";
    AddressNotAvailable 99 "EADDRNOTAVAIL"
        ["Cannot assign requested address", "Address not available", "Can't assign requested address"]
        "No such local address, or no local port is left.";
    NetworkDown 100 "ENETDOWN" ["Network is down"] "The interface is down.";
    NetworkUnreachable 101 "ENETUNREACH" ["Network is unreachable", "Network unreachable"] "No route to the network.";
    ConnectionAborted 103 "ECONNABORTED"
        ["Software caused connection abort", "Connection aborted"] "The connection was aborted.";
    ConnectionReset 104 "ECONNRESET" ["Connection reset by peer"] "The peer sent a reset.";
    NoBuffers 105 "ENOBUFS" ["No buffer space available"] "No kernel buffers.";
    NotConnected 107 "ENOTCONN"
        ["Transport endpoint is not connected", "Socket not connected", "Socket is not connected"]
        "The socket is not connected.";
    TimedOut 110 "ETIMEDOUT" ["Connection timed out", "Operation timed out"] "Nobody answered in time.";
    ConnectionRefused 111 "ECONNREFUSED" ["Connection refused"] "A reset or an ICMP port-unreachable answered.";
    HostDown 112 "EHOSTDOWN" ["Host is down"] "The host is down.";
    HostUnreachable 113 "EHOSTUNREACH" ["No route to host", "Host is unreachable"] "The host cannot be reached.";
    QuotaExceeded 122 "EDQUOT" ["Disk quota exceeded", "Quota exceeded"] "The disk quota is used up.";
}

impl Errno {
    /// The code that a log line names as `(number: words)`: by its words, and where these say nothing
    /// (`Unknown error`, an old nginx on a new glibc) by the Linux number.
    pub fn from_log(number: i32, words: &str) -> Self {
        let linux = Self::from_linux(number);
        // Nearly every log was written on Linux, and then both say the same.
        if words == linux.words() {
            return linux;
        }
        Self::from_words(words).unwrap_or(linux)
    }
}

const fn first(words: &[&'static str]) -> &'static str {
    words[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_win_over_numbers() {
        assert_eq!(Errno::from_log(61, "Connection refused"), Errno::ConnectionRefused);
        assert_eq!(Errno::from_log(99, "Address not available"), Errno::AddressNotAvailable);
        assert_eq!(Errno::from_log(111, "Unknown error"), Errno::ConnectionRefused);
        assert_eq!(Errno::from_log(61, "Unknown error"), Errno::Other(61));
    }

    #[test]
    fn every_wording_and_number_leads_back_to_its_code() {
        for number in 0..140 {
            let errno = Errno::from_linux(number);
            assert_eq!(errno.number(), number);
            if !matches!(errno, Errno::Other(_)) {
                assert_eq!(Errno::from_words(errno.words()), Some(errno));
            }
        }
    }
}
