//! `imageInfo.*`: what an image says of its size.
//!
//! 1. Content that is no image has no such values. Its `Content-Type` does not matter.
//! 2. Content that begins like an image which the service reads, but has no size that can be found,
//!    fails the callback (EC `0007-00000302`).

use imagesize::ImageType;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Image {
    pub(super) height: u64,
    pub(super) width: u64,
    pub(super) format: &'static str,
}

/// An image that cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Unreadable;

/// How much of an object is looked at. A size stands behind previews and colour profiles, which take
/// some hundred kilobytes at most.
pub(super) const HEAD: usize = 1 << 20;

/// Reads the beginning of an object.
pub(super) fn read(head: &[u8]) -> Result<Option<Image>, Unreadable> {
    let format = match imagesize::image_type(head) {
        Ok(ImageType::Bmp) => "bmp",
        Ok(ImageType::Gif) => "gif",
        Ok(ImageType::Heif(_)) => "heic",
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

#[cfg(test)]
mod tests {
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
}
