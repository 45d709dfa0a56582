//! `imageInfo.*`: what an image says of its size.
//!
//! 1. Content that is not an image has no such values, whatever its `Content-Type`. Text that begins with
//!    `BM` or `GIF8` is none, nor are a video and an AVIF, which share HEIC's container.
//! 2. Content that begins like an image that the service reads, but whose size cannot be found, fails
//!    the callback (EC `0007-00000302`).

use imagesize::{Compression, ImageType};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Image {
    pub(super) height: u64,
    pub(super) width: u64,
    pub(super) format: &'static str,
}

/// An image that cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Unreadable;

/// How much of an object is read. The size follows previews and colour profiles, which take a few
/// hundred kilobytes at most.
pub(super) const HEAD: usize = 1 << 20;

/// Reads the beginning of an object.
pub(super) fn read(head: &[u8]) -> Result<Option<Image>, Unreadable> {
    let format = match imagesize::image_type(head) {
        Ok(ImageType::Bmp) => return Ok(bitmap(head)),
        Ok(ImageType::Gif) if head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a") => "gif",
        Ok(ImageType::Heif(Compression::Hevc)) => "heic",
        Ok(ImageType::Jpeg) => "jpg",
        Ok(ImageType::Png) => "png",
        Ok(ImageType::Tiff) => "tiff",
        Ok(ImageType::Webp) => "webp",
        _ => return Ok(None),
    };
    let size = imagesize::blob_size(head).map_err(|_| Unreadable)?;
    Ok(Some(Image {
        height: size.height as u64,
        width: size.width as u64,
        format,
    }))
}

/// The size in a bitmap's header, `None` if no such header follows. The height of a bitmap that is stored
/// from top to bottom is negative.
fn bitmap(head: &[u8]) -> Option<Image> {
    let number = |at: usize| Some(u32::from_le_bytes(*head.get(at..)?.first_chunk()?));
    let small = |at: usize| Some(u16::from_le_bytes(*head.get(at..)?.first_chunk()?));
    let (width, height) = match number(14)? {
        // OS/2.
        12 => (u64::from(small(18)?), u64::from(small(20)?)),
        40 | 52 | 56 | 64 | 108 | 124 => {
            let height = number(22)?.cast_signed().unsigned_abs();
            (u64::from(number(18)?), u64::from(height))
        }
        _ => return None,
    };
    Some(Image {
        height,
        width,
        format: "bmp",
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_size_is_read_and_a_cut_image_is_not() {
        let gif = b"GIF89a\x20\x03\x10\x02\x00\x00\x00";
        let image = Image {
            height: 528,
            width: 800,
            format: "gif",
        };
        assert_eq!(read(gif), Ok(Some(image)));
        assert_eq!(read(b"hello"), Ok(None));
        assert_eq!(read(b""), Ok(None));
        assert_eq!(read(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), Err(Unreadable));
        assert_eq!(
            read(b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01"),
            Err(Unreadable)
        );
    }

    #[test]
    fn what_only_begins_like_an_image_is_none() {
        for text in [
            &b"BM"[..],
            b"BMW is a maker of cars in Munich, Germany",
            b"GIF8 is how such a file begins",
            b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
            b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
            b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
        ] {
            assert_eq!(read(text), Ok(None), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn each_header_of_a_bitmap_is_read() {
        let with = |header: &[u8]| [&b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0"[..], header].concat();
        for (header, size) in [
            (&b"\x28\0\0\0\x02\0\0\0\x03\0\0\0"[..], (2, 3)),
            // From top to bottom.
            (b"\x28\0\0\0\x02\0\0\0\xfd\xff\xff\xff", (2, 3)),
            (b"\x0c\0\0\0\x04\0\x06\0", (4, 6)),
        ] {
            let image = read(&with(header)).unwrap().unwrap();
            assert_eq!(
                (image.width, image.height, image.format),
                (size.0, size.1, "bmp")
            );
        }
    }

    proptest! {
        #[test]
        fn no_image_holds_the_server_up(
            magic in prop_oneof![
                Just(&b"\x89PNG\r\n\x1a\n"[..]), Just(&b"\xff\xd8\xff"[..]), Just(&b"GIF89a"[..]),
                Just(&b"BM"[..]), Just(&b"II\x2a\0\x08\0\0\0"[..]), Just(&b"MM\0\x2a\0\0\0\x08"[..]),
                Just(&b"RIFF\0\0\0\0WEBPVP8 "[..]), Just(&b"RIFF\0\0\0\0WEBPVP8X"[..]),
                Just(&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..]), Just(&b"\0\0\0\x18ftypmif1\0\0\0\0heic\0\0"[..]),
            ],
            piece in proptest::collection::vec(
                prop_oneof![Just(0u8), Just(1), Just(8), Just(0xff), any::<u8>()], 1..64,
            ),
            times in prop_oneof![Just(1usize), Just(1000), Just(10_000)],
        ) {
            let mut head = magic.to_vec();
            head.extend_from_slice(&piece.repeat(times));
            head.truncate(HEAD);
            let begin = std::time::Instant::now();
            let _ = read(&head);
            // Generous, for a build without optimization on a machine that is busy.
            prop_assert!(begin.elapsed() < std::time::Duration::from_secs(5));
        }
    }
}
