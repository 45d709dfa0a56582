//! Objects in a directory: they outlive the server, and a crash leaves none in half.

use std::{fs, path::Path};

use oss_callback_local::{DirectoryError, LocalOss, StartError};

use crate::support::{address, builder, send};

async fn on(path: &Path) -> LocalOss {
    builder().directory(path).start().await.unwrap()
}

#[tokio::test]
async fn objects_outlive_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let oss = on(directory.path()).await;
    let headers = [("Content-Type", "text/x-test"), ("x-oss-meta-a", "b")];
    for key in ["a", "..%2F..%2Fetc%2Fpasswd", "CON", &"x".repeat(1000)] {
        let reply = send(
            address(&oss),
            "PUT",
            &format!("/bucket-1/{key}"),
            &headers,
            b"hello",
        )
        .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    send(
        address(&oss),
        "PUT",
        "/bucket-1/a",
        &headers,
        b"hello again",
    )
    .await;
    send(address(&oss), "PUT", "/bucket-1/gone", &[], b"x").await;
    send(address(&oss), "DELETE", "/bucket-1/gone", &[], b"").await;
    oss.shutdown().await;

    let oss = on(directory.path()).await;
    let read = send(address(&oss), "GET", "/bucket-1/a", &[], b"").await;
    assert_eq!(
        (
            read.text().as_str(),
            read.header("content-type"),
            read.header("x-oss-meta-a")
        ),
        ("hello again", Some("text/x-test"), Some("b"))
    );
    assert_eq!(
        send(
            address(&oss),
            "GET",
            "/bucket-1/..%2F..%2Fetc%2Fpasswd",
            &[],
            b""
        )
        .await
        .text(),
        "hello"
    );
    assert_eq!(
        send(address(&oss), "GET", "/bucket-1/gone", &[], b"")
            .await
            .status,
        404
    );
    // No key became a path.
    let names: Vec<String> = fs::read_dir(directory.path().join("objects"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 4);
    assert!(
        names
            .iter()
            .all(|name| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())),
        "{names:?}"
    );

    oss.reset().await.unwrap();
    assert_eq!(
        fs::read_dir(directory.path().join("objects"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(
        fs::read_dir(directory.path().join("staging"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn a_directory_serves_one_server() {
    let directory = tempfile::tempdir().unwrap();
    let first = on(directory.path()).await;
    let error = builder()
        .directory(directory.path())
        .start()
        .await
        .unwrap_err();
    assert!(
        matches!(error, StartError::Directory(DirectoryError::InUse(_))),
        "{error}"
    );
    first.shutdown().await;
    on(directory.path()).await;
}

#[tokio::test]
async fn what_is_left_of_a_crash_is_swept_and_what_is_foreign_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let oss = on(directory.path()).await;
    send(address(&oss), "PUT", "/bucket-1/a", &[], b"hello").await;
    oss.shutdown().await;
    fs::write(directory.path().join("staging/7"), b"half").unwrap();
    let oss = on(directory.path()).await;
    assert!(!directory.path().join("staging/7").exists());
    oss.shutdown().await;

    let foreign = directory.path().join("objects/notes.txt");
    fs::write(&foreign, b"mine").unwrap();
    let error = builder()
        .directory(directory.path())
        .start()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("notes.txt"), "{error}");
    assert!(foreign.exists());
}

#[tokio::test]
async fn a_reader_sees_the_object_that_it_opened() {
    let directory = tempfile::tempdir().unwrap();
    let oss = on(directory.path()).await;
    let at = address(&oss);
    let bodies = [vec![b'a'; 300_000], vec![b'b'; 200_000]];
    send(at, "PUT", "/bucket-1/a", &[], &bodies[0]).await;
    let writer = tokio::spawn({
        let bodies = bodies.clone();
        async move {
            for turn in 0..40 {
                assert_eq!(
                    send(at, "PUT", "/bucket-1/a", &[], &bodies[turn % 2])
                        .await
                        .status,
                    200
                );
            }
        }
    });
    while !writer.is_finished() {
        let read = send(at, "GET", "/bucket-1/a", &[], b"").await;
        assert!(
            bodies.contains(&read.body),
            "{} bytes of a mixture",
            read.body.len()
        );
    }
    writer.await.unwrap();
}

/// It would come back with the next start.
#[tokio::test]
async fn an_object_whose_file_cannot_be_removed_stays() {
    let directory = tempfile::tempdir().unwrap();
    let oss = on(directory.path()).await;
    send(address(&oss), "PUT", "/bucket-1/a", &[], b"hello").await;
    let objects = directory.path().join("objects");
    let file = fs::read_dir(&objects).unwrap().next().unwrap().unwrap();
    // Whoever runs the tests, what is no file is not removed as one.
    let aside = directory.path().join("aside");
    fs::rename(file.path(), &aside).unwrap();
    fs::create_dir(file.path()).unwrap();
    let listed = async || {
        let list = send(address(&oss), "GET", "/bucket-1", &[], b"").await;
        list.element("Key")
    };
    for (method, target) in [("DELETE", "/bucket-1/a"), ("POST", "/_oss/reset")] {
        let reply = send(address(&oss), method, target, &[], b"").await;
        assert_eq!(reply.status, 500, "{method}: {}", reply.text());
        assert_eq!(listed().await.as_deref(), Some("a"), "{method}");
    }
    fs::remove_dir(file.path()).unwrap();
    fs::rename(&aside, file.path()).unwrap();
    let reply = send(address(&oss), "DELETE", "/bucket-1/a", &[], b"").await;
    assert_eq!((reply.status, listed().await), (204, None));
    assert!(!file.path().exists());
}
