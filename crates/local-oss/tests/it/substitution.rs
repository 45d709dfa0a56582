//! What is filled into the body of a callback, from real uploads.

use crate::support::{App, address, base64, open, send};
use oss_callback_local::LocalOss;

async fn rendered(
    oss: &LocalOss,
    app: &App,
    template: &str,
    is_json: bool,
    object: &[u8],
) -> Result<String, String> {
    let json = serde_json::json!({
        "callbackUrl": app.url(),
        "callbackBody": template,
        "callbackBodyType": if is_json { "application/json" } else { "application/x-www-form-urlencoded" },
    });
    let vars = base64(r#"{"x:uid":"用户 42","x:empty":""}"#);
    let callback = base64(json.to_string());
    let headers = [
        ("x-oss-callback", callback.as_str()),
        ("x-oss-callback-var", &vars),
        ("Content-Type", "image/lies"),
    ];
    let target = "/bucket-1/dir/%E7%A4%BA%20%2B.txt";
    let reply = send(address(oss), "PUT", target, &headers, object).await;
    if reply.status != 200 {
        return Err(reply.element("EC").unwrap_or_default());
    }
    Ok(String::from_utf8_lossy(&app.seen().pop().unwrap().body).into_owned())
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend_from_slice(&width.to_be_bytes());
    png.extend_from_slice(&height.to_be_bytes());
    png.extend_from_slice(&[8, 6, 0, 0, 0, 0, 0, 0, 0]);
    png
}

/// A baseline JPEG behind a preview of 60 KB.
fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = b"\xff\xd8\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0".to_vec();
    jpeg.extend_from_slice(b"\xff\xe1\xea\x60");
    jpeg.extend_from_slice(&[0; 0xea60 - 2]);
    jpeg.extend_from_slice(b"\xff\xc0\x00\x11\x08");
    jpeg.extend_from_slice(&height.to_be_bytes());
    jpeg.extend_from_slice(&width.to_be_bytes());
    jpeg.extend_from_slice(b"\x03\x01\x22\0\x02\x11\x01\x03\x11\x01");
    jpeg
}

#[tokio::test]
async fn every_variable_has_the_uploads_value() {
    let oss = open().await;
    let app = App::start(&oss).await;
    let form = "b=${bucket}&o=${object}&e=${etag}&s=${size}&m=${mimeType}&c=${crc64}&md5=${contentMd5}\
                &v=${vpcId}&ip=${clientIp}&op=${operation}&u=${x:uid}&x=${x:none}&h=${imageInfo.height}&i=${imageInfo}";
    assert_eq!(
        rendered(&oss, &app, form, false, b"hello").await.unwrap(),
        "b=bucket-1&o=dir%2F%E7%A4%BA%20%2B.txt&e=5D41402ABC4B2A76B9719D911017C592&s=5&m=image%2Flies\
         &c=11177612005948864433&md5=XUFAKrxLKna5cZ2REBfFkg%3D%3D&v=&ip=127.0.0.1&op=PutObject\
         &u=%E7%94%A8%E6%88%B7%2042&x=&h=&i=",
    );
    let json = r#"{"o":${object},"s":${size},"u":${x:uid},"i":${imageInfo}}"#;
    assert_eq!(
        rendered(&oss, &app, json, true, b"hello").await.unwrap(),
        r#"{"o":"dir/示 +.txt","s":5,"u":"用户 42","i":null}"#,
    );
}

#[tokio::test]
async fn sizes_of_images_come_from_their_content() {
    let oss = open().await;
    let app = App::start(&oss).await;
    let template = "${imageInfo.format},${imageInfo.width},${imageInfo.height}";
    let gif = b"GIF89a\x2a\x03\x1b\x02\x80\0\0\0\0\0\xff\xff\xff";
    let bmp: Vec<u8> = [
        b"BM".as_slice(),
        &[0; 12],
        &40u32.to_le_bytes(),
        &810u32.to_le_bytes(),
        &539u32.to_le_bytes(),
        &[1, 0, 24, 0],
        &[0; 24],
    ]
    .concat();
    for (object, expected) in [
        (png(810, 539), "png,810,539"),
        (jpeg(810, 539), "jpg,810,539"),
        (gif.to_vec(), "gif,810,539"),
        (bmp, "bmp,810,539"),
        (b"<svg/>".to_vec(), ",,"),
        // A video, and text that begins like an image.
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom".to_vec(), ",,"),
        (b"BMW is a maker of cars in Munich, Germany".to_vec(), ",,"),
        (Vec::new(), ",,"),
    ] {
        let body = rendered(&oss, &app, template, false, &object).await;
        assert_eq!(body.as_deref(), Ok(expected));
    }
}

#[tokio::test]
async fn an_image_that_cannot_be_read_fails_the_callback_if_it_is_asked_for() {
    let oss = open().await;
    let app = App::start(&oss).await;
    for broken in [&jpeg(1, 1)[..5000], &png(1, 1)[..14], b"GIF89a\0\0\0\0\0\0"] {
        let asked = rendered(&oss, &app, "w=${imageInfo.width}", false, broken).await;
        let is_read = asked.is_ok();
        assert!(
            is_read || asked == Err("0007-00000302".to_owned()),
            "{asked:?}"
        );
        assert_eq!(
            rendered(&oss, &app, "s=${size}", false, broken)
                .await
                .unwrap(),
            format!("s={}", broken.len())
        );
    }
    let cut = rendered(
        &oss,
        &app,
        "w=${imageInfo.width}",
        false,
        &jpeg(1, 1)[..5000],
    )
    .await;
    assert_eq!(cut, Err("0007-00000302".to_owned()));
}
