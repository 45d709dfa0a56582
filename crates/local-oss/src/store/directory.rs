//! Contents in a directory.
//!
//! 1. `objects/` holds a file for each object, named by the SHA-256 of bucket and key: no key
//!    becomes a path. `staging/` holds bodies on their way, and parts.
//! 2. A file is the object's bytes, then what is known of the object as JSON, then the length of
//!    that and a magic number. So one rename replaces bytes and knowledge together.
//! 3. A file is synced before it is renamed into `objects/`, and `objects/` is synced before an
//!    upload is acknowledged. A crash leaves a whole object or none, and no acknowledged one is
//!    lost. `staging/` is emptied at the start.
//! 4. `lock` is locked while a server uses the directory: two would empty each other's `staging/`.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::{Content, ObjectMeta};
use crate::error::OssError;

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Another server uses it.
    #[error("{path} is in use by another local OSS", path = .0.display())]
    InUse(PathBuf),
    /// The operating system refuses.
    #[error("{path}: {cause}", path = path.display())]
    Io {
        /// What could not be used.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file is there that this store did not write, or that was damaged since.
    #[error("{path} is not an object of a local OSS; move it away", path = .0.display())]
    Foreign(PathBuf),
}

impl DirectoryError {
    pub(super) fn task(error: tokio::task::JoinError) -> Self {
        Self::Io {
            path: PathBuf::new(),
            cause: io::Error::other(error),
        }
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |cause| Self::Io { path, cause }
    }
}

/// A file of this store. A staged one is removed when its last clone goes.
#[derive(Clone, Debug)]
pub(crate) struct StoredFile(Arc<FileName>);

#[derive(Debug)]
struct FileName {
    path: PathBuf,
    staged: bool,
}

impl Drop for FileName {
    fn drop(&mut self) {
        if self.staged {
            // It was renamed, or it is of no use: the next start empties the directory anyway.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl StoredFile {
    fn staged(path: PathBuf) -> Self {
        Self(Arc::new(FileName { path, staged: true }))
    }

    fn object(path: PathBuf) -> Self {
        Self(Arc::new(FileName {
            path,
            staged: false,
        }))
    }

    fn path(&self) -> &Path {
        &self.0.path
    }

    pub(super) fn for_each(&self, mut piece: impl FnMut(&[u8])) -> io::Result<()> {
        let mut file = File::open(self.path())?;
        let mut buffer = vec![0; COPY];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                read => piece(&buffer[..read]),
            }
        }
    }
}

/// What a file says of its object.
#[derive(Deserialize, Serialize)]
struct Trailer {
    bucket: String,
    key: String,
    meta: ObjectMeta,
}

/// An object that was found at the start.
pub(super) struct Found {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) meta: ObjectMeta,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) struct Directory {
    objects: PathBuf,
    staging: PathBuf,
    next: AtomicU64,
    /// Locked until it is dropped.
    _lock: File,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Found>), DirectoryError> {
        let objects = path.join("objects");
        let staging = path.join("staging");
        fs::create_dir_all(&objects).map_err(DirectoryError::io(&objects))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(DirectoryError::io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(DirectoryError::InUse(path.to_owned()));
            }
            Err(fs::TryLockError::Error(cause)) => {
                return Err(DirectoryError::Io {
                    path: lock_path,
                    cause,
                });
            }
        }
        match fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(DirectoryError::io(&staging)(error));
            }
            _ => {}
        }
        fs::create_dir(&staging).map_err(DirectoryError::io(&staging))?;

        let mut found = Vec::new();
        for entry in fs::read_dir(&objects).map_err(DirectoryError::io(&objects))? {
            let path = entry.map_err(DirectoryError::io(&objects))?.path();
            found.push(read_object(path)?);
        }
        let directory = Self {
            objects,
            staging,
            next: AtomicU64::new(0),
            _lock: lock,
        };
        Ok((directory, found))
    }

    pub(super) async fn stage(&self) -> Result<FileStaging, OssError> {
        let name = StoredFile::staged(self.staged_path());
        let file = tokio::fs::File::create_new(name.path())
            .await
            .map_err(|error| OssError::internal(&error))?;
        Ok(FileStaging {
            file: tokio::io::BufWriter::with_capacity(COPY, file),
            name,
        })
    }

    /// Renames a sealed file to where its object belongs.
    pub(super) async fn publish(
        &self,
        file: StoredFile,
        bucket: &str,
        key: &str,
    ) -> Result<StoredFile, OssError> {
        let path = self.objects.join(file_name(bucket, key));
        tokio::fs::rename(file.path(), &path)
            .await
            .map_err(|error| OssError::internal(&error))?;
        Ok(StoredFile::object(path))
    }

    pub(super) async fn unlink(&self, file: &StoredFile) -> Result<(), OssError> {
        match tokio::fs::remove_file(file.path()).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(OssError::internal(&error))
            }
            _ => Ok(()),
        }
    }

    /// Makes renames and removals outlast a crash.
    pub(super) async fn sync(&self) -> Result<(), OssError> {
        // Windows cannot sync a directory, and its file systems log renames themselves.
        if cfg!(windows) {
            return Ok(());
        }
        let objects = self.objects.clone();
        blocking(move || File::open(objects)?.sync_all()).await
    }

    pub(super) async fn concatenate(&self, parts: Vec<StoredFile>) -> Result<StoredFile, OssError> {
        let whole = StoredFile::staged(self.staged_path());
        blocking(move || {
            let mut file = File::create_new(whole.path())?;
            for part in &parts {
                io::copy(&mut File::open(part.path())?, &mut file)?;
            }
            Ok(whole)
        })
        .await
    }

    fn staged_path(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.staging.join(number.to_string())
    }
}

/// A body that is being written.
#[derive(Debug)]
pub(crate) struct FileStaging {
    file: tokio::io::BufWriter<tokio::fs::File>,
    name: StoredFile,
}

impl FileStaging {
    pub(super) async fn write(&mut self, chunk: &[u8]) -> Result<(), OssError> {
        self.file
            .write_all(chunk)
            .await
            .map_err(|error| OssError::internal(&error))
    }

    pub(super) async fn finish(mut self) -> Result<StoredFile, OssError> {
        self.file
            .flush()
            .await
            .map_err(|error| OssError::internal(&error))?;
        Ok(self.name)
    }
}

/// Appends what is known of the object, and syncs the file.
pub(super) async fn seal(
    file: StoredFile,
    bucket: &str,
    key: &str,
    meta: &ObjectMeta,
) -> Result<StoredFile, OssError> {
    let trailer = serde_json::to_vec(&Trailer {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        meta: meta.clone(),
    })
    .map_err(|error| OssError::internal(&error))?;
    blocking(move || {
        let mut open = fs::OpenOptions::new().append(true).open(file.path())?;
        open.write_all(&trailer)?;
        open.write_all(&(trailer.len() as u64).to_le_bytes())?;
        open.write_all(MAGIC)?;
        open.sync_all()?;
        Ok(file)
    })
    .await
}

/// Opens an object's file; `None` if it was deleted.
pub(super) async fn open(
    file: StoredFile,
) -> Result<Option<(ObjectMeta, tokio::fs::File)>, OssError> {
    let opened = match tokio::fs::File::open(file.path()).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened,
    };
    let read = async {
        let mut file = opened?;
        let mut footer = [0; FOOTER];
        file.seek(SeekFrom::End(-(FOOTER as i64))).await?;
        file.read_exact(&mut footer).await?;
        let len = trailer_len(&footer).ok_or_else(damaged)?;
        file.seek(SeekFrom::End(-((FOOTER as u64 + len) as i64)))
            .await?;
        let mut trailer = vec![0; len as usize];
        file.read_exact(&mut trailer).await?;
        let trailer: Trailer = serde_json::from_slice(&trailer)?;
        io::Result::Ok((trailer.meta, file))
    };
    read.await
        .map(Some)
        .map_err(|error| OssError::internal(&error))
}

fn read_object(path: PathBuf) -> Result<Found, DirectoryError> {
    let read = || -> io::Result<Trailer> {
        let mut file = File::open(&path)?;
        let mut footer = [0; FOOTER];
        file.seek(SeekFrom::End(-(FOOTER as i64)))?;
        file.read_exact(&mut footer)?;
        let len = trailer_len(&footer).ok_or_else(damaged)?;
        let start = file.seek(SeekFrom::End(-((FOOTER as u64 + len) as i64)))?;
        let mut trailer = vec![0; len as usize];
        file.read_exact(&mut trailer)?;
        let trailer: Trailer = serde_json::from_slice(&trailer)?;
        let named = path.file_name().and_then(|name| name.to_str());
        let expected = file_name(&trailer.bucket, &trailer.key);
        if trailer.meta.size != start || named != Some(&expected) {
            return Err(damaged());
        }
        Ok(trailer)
    };
    let trailer = read().map_err(|_| DirectoryError::Foreign(path.clone()))?;
    Ok(Found {
        bucket: trailer.bucket,
        key: trailer.key,
        meta: trailer.meta,
        content: Content::File(StoredFile::object(path)),
    })
}

fn trailer_len(footer: &[u8; FOOTER]) -> Option<u64> {
    let (len, magic) = footer.split_at(8);
    let len = u64::from_le_bytes(len.try_into().ok()?);
    (magic == MAGIC && len <= MAX_TRAILER).then_some(len)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an object of this store")
}

/// Keys may contain anything, and names of buckets no NUL: so no two pairs have one text.
fn file_name(bucket: &str, key: &str) -> String {
    let hash = Sha256::new()
        .chain_update(bucket)
        .chain_update([0])
        .chain_update(key)
        .finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, OssError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(OssError::internal(&error)),
        Err(error) => Err(OssError::internal(&error)),
    }
}

const MAGIC: &[u8; 8] = b"locosso1";

/// The length of the trailer, and the magic number.
const FOOTER: usize = 16;

/// Key, 8 KiB of user metadata and a few standard headers, with room for JSON's escapes.
const MAX_TRAILER: u64 = 256 << 10;

const COPY: usize = 256 << 10;
