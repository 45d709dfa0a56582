//! Objects and multipart uploads: an index in memory, and contents in memory or in a directory.
//!
//! 1. A body is written to a [`Staging`] first. Only [`Store::commit`] makes it an object, in one
//!    step: a reader sees the old object or the new one.
//! 2. In a directory that step is a rename of a file that was synced before, and the directory is
//!    synced before the upload is acknowledged: see [`directory`].
//! 3. Everything that clients can make the server keep is bounded: objects, uploads, parts, and in
//!    memory their bytes, which are reserved from a budget before they are stored.

mod content;
mod directory;
mod index;
mod memory;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    content::Content,
    index::{Listed, Listing, Part, PartList, Upload},
};
use self::{
    directory::Directory,
    index::Index,
    memory::{Budget, MemoryStaging},
};
use crate::{error::OssError, part_list::ListedPart};

pub use self::directory::DirectoryError;

/// The metadata of an object.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct ObjectMeta {
    pub(crate) size: u64,
    /// Upper-case hex, without quotes.
    pub(crate) etag: String,
    pub(crate) crc64: u64,
    /// Base64; `None` after a multipart upload.
    pub(crate) content_md5: Option<String>,
    pub(crate) content_type: String,
    /// `x-oss-meta-*` and the headers that are given back as they came, in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) modified: SystemTime,
}

/// A body that is being received. Dropping it discards what was written.
#[derive(Debug)]
pub(crate) enum Staging {
    Memory(MemoryStaging),
    File(directory::FileStaging),
}

impl Staging {
    /// # Errors
    /// If the bytes would go beyond the memory limit, or the disk refuses them.
    pub(crate) async fn write(&mut self, chunk: &Bytes) -> Result<(), OssError> {
        match self {
            Self::Memory(staging) => staging.write(chunk),
            Self::File(staging) => staging.write(chunk).await,
        }
    }

    /// The bytes written, as the content of a part or of what a commit takes.
    pub(crate) async fn finish(self) -> Result<Content, OssError> {
        match self {
            Self::Memory(staging) => Ok(Content::Memory(vec![staging.finish()])),
            Self::File(staging) => staging.finish().await.map(Content::File),
        }
    }
}

/// A new object's place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    /// `x-oss-forbid-overwrite`.
    pub(crate) forbid_overwrite: bool,
}

#[derive(Debug)]
pub(crate) struct Store {
    index: Mutex<Index>,
    backing: Backing,
    /// Held over a rename and the change of the index that belongs to it, so that the two happen in
    /// the same order for every key.
    committing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
enum Backing {
    Memory(Budget),
    Directory(Directory),
}

impl Store {
    pub(crate) fn in_memory(limit: u64) -> Self {
        Self::new(Index::default(), Backing::Memory(Budget::new(limit)))
    }

    /// Opens a directory, and reads what it holds.
    ///
    /// # Errors
    /// If it cannot be used, another server uses it, or a file in it is not one of this store's.
    pub(crate) async fn in_directory(path: &Path) -> Result<Self, DirectoryError> {
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || Directory::open(&path));
        let (directory, objects) = opened.await.map_err(DirectoryError::task)??;
        let mut index = Index::default();
        for object in objects {
            index.insert(
                &object.bucket,
                &object.key,
                Arc::new(object.meta),
                object.content,
            );
        }
        Ok(Self::new(index, Backing::Directory(directory)))
    }

    fn new(index: Index, backing: Backing) -> Self {
        Self {
            index: Mutex::new(index),
            backing,
            committing: tokio::sync::Mutex::new(()),
        }
    }

    pub(crate) async fn stage(&self) -> Result<Staging, OssError> {
        match &self.backing {
            Backing::Memory(budget) => MemoryStaging::new(budget.clone()).map(Staging::Memory),
            Backing::Directory(directory) => directory.stage().await.map(Staging::File),
        }
    }

    /// Makes staged content an object.
    ///
    /// # Errors
    /// `FileAlreadyExists`, if it must not overwrite; a bound; the disk.
    pub(crate) async fn commit(
        &self,
        target: Target<'_>,
        content: Content,
        meta: Arc<ObjectMeta>,
    ) -> Result<(), OssError> {
        let content = match content {
            Content::File(file) => {
                Content::File(directory::seal(file, target.bucket, target.key, &meta).await?)
            }
            memory @ Content::Memory(_) => memory,
        };
        let committing = self.committing.lock().await;
        self.index().check_commit(target)?;
        let content = match (&self.backing, content) {
            (Backing::Directory(directory), Content::File(file)) => {
                Content::File(directory.publish(file, target.bucket, target.key).await?)
            }
            (_, content) => content,
        };
        let replaced = self
            .index()
            .insert(target.bucket, target.key, meta, content);
        drop(committing);
        // Freeing a large object takes time, so not under the lock.
        drop(replaced);
        self.sync().await
    }

    /// Whether a commit would be taken, as far as can be said before.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub(crate) fn check_commit(&self, target: Target<'_>) -> Result<(), OssError> {
        self.index().check_commit(target)
    }

    /// The object with its content, opened for reading: an overwrite does not change it any more.
    pub(crate) async fn open(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<(Arc<ObjectMeta>, content::Reader), OssError> {
        let (meta, content) = self.index().get(bucket, key)?;
        match content {
            Content::Memory(blocks) => Ok((meta, content::Reader::Memory(blocks))),
            // The file may have been replaced since the index was read, so the metadata is read from
            // the opened file.
            Content::File(file) => match directory::open(file).await {
                Ok(Some((meta, file))) => Ok((Arc::new(meta), content::Reader::File(file))),
                Ok(None) => Err(OssError::no_such_key(key)),
                Err(error) => Err(error),
            },
        }
    }

    pub(crate) fn meta(&self, bucket: &str, key: &str) -> Result<Arc<ObjectMeta>, OssError> {
        self.index().get(bucket, key).map(|(meta, _)| meta)
    }

    /// Removes an object, if there is one.
    ///
    /// # Errors
    /// `NoSuchBucket`; the disk.
    pub(crate) async fn delete(&self, bucket: &str, key: &str) -> Result<(), OssError> {
        let committing = self.committing.lock().await;
        let Some(content) = self.index().content(bucket, key)? else {
            return Ok(());
        };
        self.unlink(&content).await?;
        let removed = self.index().remove(bucket, key)?;
        drop(committing);
        // Freeing a large object takes time, so not under the lock.
        drop((content, removed));
        self.sync().await
    }

    /// Puts the parts that a client listed together.
    ///
    /// # Errors
    /// As [`Store::commit`], and `NoSuchUpload` if the upload ended in the meantime.
    pub(crate) async fn assemble(
        &self,
        upload_id: &str,
        parts: Vec<Content>,
    ) -> Result<Content, OssError> {
        // Only an upload that is still open may be put together.
        self.index().upload(upload_id)?;
        match &self.backing {
            Backing::Memory(_) => Ok(Content::Memory(
                parts
                    .into_iter()
                    .flat_map(|part| match part {
                        Content::Memory(blocks) => blocks,
                        Content::File(_) => Vec::new(),
                    })
                    .collect(),
            )),
            Backing::Directory(directory) => {
                let files = parts
                    .into_iter()
                    .filter_map(|part| match part {
                        Content::File(file) => Some(file),
                        Content::Memory(_) => None,
                    })
                    .collect();
                directory.concatenate(files).await.map(Content::File)
            }
        }
    }

    /// Removes everything: objects, uploads and buckets.
    ///
    /// # Errors
    /// The disk.
    pub(crate) async fn clear(&self) -> Result<(), OssError> {
        let committing = self.committing.lock().await;
        let contents = self.index().contents();
        for content in &contents {
            self.unlink(content).await?;
        }
        let removed = self.index().clear();
        drop(committing);
        drop((contents, removed));
        self.sync().await
    }

    /// Removes the file, before its object leaves the index: the object of a file that stays would come
    /// back with the next start.
    async fn unlink(&self, content: &Content) -> Result<(), OssError> {
        match (&self.backing, content) {
            (Backing::Directory(directory), Content::File(file)) => directory.unlink(file).await,
            _ => Ok(()),
        }
    }

    async fn sync(&self) -> Result<(), OssError> {
        match &self.backing {
            Backing::Directory(directory) => directory.sync().await,
            Backing::Memory(_) => Ok(()),
        }
    }

    pub(crate) fn create_bucket(&self, name: &str, now: SystemTime) -> Result<(), OssError> {
        self.index().create_bucket(name, now)
    }

    /// # Errors
    /// `NoSuchBucket`.
    pub(crate) fn bucket_created(&self, name: &str) -> Result<SystemTime, OssError> {
        self.index().bucket_created(name)
    }

    /// The buckets with a prefix whose names come after another one, with the times of their creation.
    pub(crate) fn buckets(
        &self,
        prefix: &str,
        after: &str,
        max: usize,
    ) -> Vec<(String, SystemTime)> {
        self.index().buckets(prefix, after, max)
    }

    /// The names of the first buckets, at most `max`.
    pub(crate) fn bucket_names(&self, max: usize) -> Vec<String> {
        let buckets = self.buckets("", "", max);
        buckets.into_iter().map(|(name, _)| name).collect()
    }

    pub(crate) fn list(&self, bucket: &str, listing: &Listing<'_>) -> Result<Listed, OssError> {
        self.index().list(bucket, listing)
    }

    /// The newest objects of all buckets, at most `limit`, for the page.
    pub(crate) fn newest(&self, limit: usize) -> Vec<(String, String, Arc<ObjectMeta>)> {
        self.index().newest(limit)
    }

    pub(crate) fn begin_upload(&self, id: &str, upload: Upload) -> Result<(), OssError> {
        self.index().begin_upload(id, upload)
    }

    /// The id that `id` stands for: itself, or with `adopt` the upload last begun for this object.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub(crate) fn resolve_upload(
        &self,
        id: &str,
        bucket: &str,
        key: &str,
        adopt: bool,
    ) -> Result<String, OssError> {
        self.index().resolve_upload(id, bucket, key, adopt)
    }

    pub(crate) fn put_part(&self, id: &str, number: u32, part: Part) -> Result<(), OssError> {
        // The replaced part is freed outside the lock.
        let replaced = self.index().put_part(id, number, part);
        replaced.map(drop)
    }

    pub(crate) fn parts(&self, id: &str) -> Result<PartList, OssError> {
        self.index().parts(id)
    }

    /// Checks what a client listed against what it sent.
    pub(crate) fn choose_parts(
        &self,
        id: &str,
        listed: &[ListedPart],
    ) -> Result<Vec<Part>, OssError> {
        self.index().choose_parts(id, listed)
    }

    pub(crate) fn end_upload(&self, id: &str) -> Result<Upload, OssError> {
        self.index().end_upload(id)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // A panic cannot leave the index inconsistent: no code under the lock panics between changes.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
