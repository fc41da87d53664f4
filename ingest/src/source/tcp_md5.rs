//! TCP MD5 signatures (RFC 2385): a key for a peer, set on a socket. Linux only.
//!
//! The one unsafe place among the sources: there is no safe call for this option. Segments of a
//! peer that has a key and does not sign are dropped by the kernel, before any program sees them.

use std::io;
use std::net::{IpAddr, SocketAddr};

/// Bytes of a key at most (`TCP_MD5SIG_MAXKEYLEN`).
pub const KEY_BYTES_MAX: usize = 80;

/// Demands signatures with this key of a peer, on a socket that listens or is about to connect.
/// `local` is the address of the socket, whose family decides how the peer's is written.
///
/// # Errors
/// What the system says; [`io::ErrorKind::Unsupported`] where it has no such option.
#[cfg(target_os = "linux")]
pub fn set_key(
    socket: &impl std::os::fd::AsFd,
    local: SocketAddr,
    peer: IpAddr,
    key: &[u8],
) -> io::Result<()> {
    let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return invalid("a key has 1 to 80 bytes");
    }
    let peer = match (local, peer) {
        (SocketAddr::V6(_), IpAddr::V4(peer)) => IpAddr::V6(peer.to_ipv6_mapped()),
        (SocketAddr::V4(_), IpAddr::V6(_)) => {
            return invalid("the socket is of IPv4, the peer is not");
        }
        (_, peer) => peer,
    };
    linux::set_key(socket.as_fd(), peer, key)
}

/// Says that this system has no such option.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`], always.
#[cfg(not(target_os = "linux"))]
pub fn set_key<S>(_: &S, _: SocketAddr, _: IpAddr, _: &[u8]) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "TCP MD5 needs Linux"))
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::mem::size_of;
    use std::net::{IpAddr, SocketAddr};
    use std::os::fd::{AsRawFd as _, BorrowedFd};

    use socket2::SockAddr;

    use super::KEY_BYTES_MAX;

    /// `struct tcp_md5sig` of `linux/tcp.h`, with `tcpm_addr` as the 128 bytes that it is.
    #[repr(C, align(8))]
    struct TcpMd5Sig {
        address: [u8; 128],
        flags: u8,
        prefix_length: u8,
        key_length: u16,
        interface: libc::c_int,
        key: [u8; KEY_BYTES_MAX],
    }

    const _: () = assert!(size_of::<libc::sockaddr_storage>() == 128);
    const _: () = assert!(size_of::<TcpMd5Sig>() == 216);

    pub(super) fn set_key(socket: BorrowedFd<'_>, peer: IpAddr, key: &[u8]) -> io::Result<()> {
        let mut option = TcpMd5Sig {
            address: address(peer),
            flags: 0,
            prefix_length: 0,
            key_length: u16::try_from(key.len()).map_err(io::Error::other)?,
            interface: 0,
            key: [0; KEY_BYTES_MAX],
        };
        option.key.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        let length = libc::socklen_t::try_from(size_of::<TcpMd5Sig>()).map_err(io::Error::other)?;
        // SAFETY: `option` lives until the call returns and is `length` bytes of a plain C struct
        // without pointers, laid out as the kernel expects it; the kernel only reads it. The
        // descriptor is borrowed, hence open.
        #[allow(unsafe_code, reason = "no safe call sets TCP_MD5SIG")]
        let done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_MD5SIG,
                (&raw const option).cast(),
                length,
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// A socket address with port 0, as bytes: family in the byte order of the machine, then as on
    /// the wire. Port, flow and scope stay zero.
    fn address(peer: IpAddr) -> [u8; 128] {
        let mut bytes = [0; 128];
        let family = SockAddr::from(SocketAddr::new(peer, 0)).family();
        let (at, octets) = match peer {
            IpAddr::V4(peer) => (4, peer.octets().to_vec()),
            IpAddr::V6(peer) => (8, peer.octets().to_vec()),
        };
        let mut put = |at: usize, from: &[u8]| {
            bytes.iter_mut().skip(at).zip(from).for_each(|(to, from)| *to = *from);
        };
        put(0, &family.to_ne_bytes());
        put(at, &octets);
        bytes
    }
}
