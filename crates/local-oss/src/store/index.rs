//! The index of buckets, objects and multipart uploads.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
    time::SystemTime,
};

use http::StatusCode;

use super::{Content, ObjectMeta, Target};
use crate::{error::OssError, part_list::ListedPart};

#[derive(Debug, Default)]
pub(super) struct Index {
    buckets: BTreeMap<String, Bucket>,
    objects: usize,
    uploads: HashMap<String, Upload>,
    /// Ids of recorded uploads, and the uploads that they joined.
    adopted: HashMap<String, String>,
    begun: u64,
}

#[derive(Debug)]
struct Bucket {
    created: SystemTime,
    objects: BTreeMap<String, (Arc<ObjectMeta>, Content)>,
}

/// A multipart upload.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) content_type: String,
    pub(crate) headers: Vec<(String, String)>,
    parts: BTreeMap<u32, Part>,
    /// Its place among all that were begun.
    order: u64,
}

impl Upload {
    pub(crate) fn new(
        bucket: String,
        key: String,
        content_type: String,
        headers: Vec<(String, String)>,
    ) -> Self {
        Self {
            bucket,
            key,
            content_type,
            headers,
            parts: BTreeMap::new(),
            order: 0,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) size: u64,
    /// Upper-case hex.
    pub(crate) etag: String,
    pub(crate) md5: [u8; 16],
    pub(crate) crc64: u64,
    pub(crate) modified: SystemTime,
    pub(crate) content: Content,
}

/// The parts of an upload, for a listing.
#[derive(Debug)]
pub(crate) struct PartList {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) parts: Vec<(u32, Part)>,
}

/// What a listing asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listing<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) delimiter: &'a str,
    /// Names after this one only.
    pub(crate) after: &'a str,
    pub(crate) max: usize,
}

/// A page of a listing.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) objects: Vec<(String, Arc<ObjectMeta>)>,
    pub(crate) common_prefixes: Vec<String>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<String>,
}

impl Index {
    pub(super) fn create_bucket(&mut self, name: &str, now: SystemTime) -> Result<(), OssError> {
        if self.buckets.contains_key(name) {
            return Ok(());
        }
        if self.buckets.len() >= MAX_BUCKETS {
            return Err(OssError::limit(format!(
                "There may be {MAX_BUCKETS} buckets."
            )));
        }
        let bucket = Bucket {
            created: now,
            objects: BTreeMap::new(),
        };
        self.buckets.insert(name.to_owned(), bucket);
        Ok(())
    }

    pub(super) fn bucket_created(&self, name: &str) -> Result<SystemTime, OssError> {
        self.bucket(name).map(|bucket| bucket.created)
    }

    /// The buckets with a prefix whose names come after another one, with the times of their creation.
    pub(super) fn buckets(
        &self,
        prefix: &str,
        after: &str,
        max: usize,
    ) -> Vec<(String, SystemTime)> {
        let names_after = (Bound::Excluded(after), Bound::Unbounded);
        self.buckets
            .range::<str, _>(names_after)
            .filter(|(name, _)| name.starts_with(prefix))
            .take(max)
            .map(|(name, bucket)| (name.clone(), bucket.created))
            .collect()
    }

    /// Whether a commit may go on.
    pub(super) fn check_commit(&self, target: Target<'_>) -> Result<(), OssError> {
        let exists = self
            .buckets
            .get(target.bucket)
            .is_some_and(|bucket| bucket.objects.contains_key(target.key));
        if exists && target.forbid_overwrite {
            return Err(OssError::new(
                StatusCode::CONFLICT,
                "FileAlreadyExists",
                "The object you specified already exists and can not be overwritten.",
            ));
        }
        if !exists && self.objects >= MAX_OBJECTS {
            return Err(OssError::limit(format!(
                "There may be {MAX_OBJECTS} objects."
            )));
        }
        Ok(())
    }

    /// Inserts an object, and returns the content that it replaced.
    pub(super) fn insert(
        &mut self,
        bucket: &str,
        key: &str,
        meta: Arc<ObjectMeta>,
        content: Content,
    ) -> Option<Content> {
        let created = meta.modified;
        let bucket = self
            .buckets
            .entry(bucket.to_owned())
            .or_insert_with(|| Bucket {
                created,
                objects: BTreeMap::new(),
            });
        let replaced = bucket.objects.insert(key.to_owned(), (meta, content));
        if replaced.is_none() {
            self.objects += 1;
        }
        replaced.map(|(_, content)| content)
    }

    pub(super) fn get(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<(Arc<ObjectMeta>, Content), OssError> {
        self.bucket(bucket)?
            .objects
            .get(key)
            .cloned()
            .ok_or_else(|| OssError::no_such_key(key))
    }

    pub(super) fn remove(&mut self, bucket: &str, key: &str) -> Result<Option<Content>, OssError> {
        let removed = self
            .buckets
            .get_mut(bucket)
            .ok_or_else(|| OssError::no_such_bucket(bucket))?
            .objects
            .remove(key);
        if removed.is_some() {
            self.objects -= 1;
        }
        Ok(removed.map(|(_, content)| content))
    }

    /// The content of an object, if there is one.
    pub(super) fn content(&self, bucket: &str, key: &str) -> Result<Option<Content>, OssError> {
        let found = self.bucket(bucket)?.objects.get(key);
        Ok(found.map(|(_, content)| content.clone()))
    }

    /// The contents of all objects.
    pub(super) fn contents(&self) -> Vec<Content> {
        let objects = self
            .buckets
            .values()
            .flat_map(|bucket| bucket.objects.values());
        objects.map(|(_, content)| content.clone()).collect()
    }

    /// Forgets everything, and returns what it knew.
    pub(super) fn clear(&mut self) -> Self {
        std::mem::take(self)
    }

    pub(super) fn list(&self, bucket: &str, listing: &Listing<'_>) -> Result<Listed, OssError> {
        let mut listed = Listed::default();
        let objects = &self.bucket(bucket)?.objects;
        let mut from = if listing.after >= listing.prefix {
            Bound::Excluded(listing.after.to_owned())
        } else {
            Bound::Included(listing.prefix.to_owned())
        };
        loop {
            let next = objects
                .range::<str, _>((from.as_ref().map(String::as_str), Bound::Unbounded))
                .next();
            let Some((key, (meta, _))) = next.filter(|(key, _)| key.starts_with(listing.prefix))
            else {
                return Ok(listed);
            };
            if listed.objects.len() + listed.common_prefixes.len() >= listing.max {
                listed.next = listed
                    .objects
                    .last()
                    .map(|(key, _)| key)
                    .max(listed.common_prefixes.last())
                    .cloned();
                return Ok(listed);
            }
            match common_prefix(key, listing) {
                Some(common) => {
                    // The previous page may have ended with this group.
                    if common != listing.after {
                        listed.common_prefixes.push(common.to_owned());
                    }
                    // Skips the group: no key sorts after the highest character.
                    from = Bound::Excluded(format!("{common}{}", char::MAX));
                }
                None => {
                    listed.objects.push((key.clone(), meta.clone()));
                    from = Bound::Excluded(key.clone());
                }
            }
        }
    }

    pub(super) fn newest(&self, limit: usize) -> Vec<(String, String, Arc<ObjectMeta>)> {
        let mut all: Vec<(&String, &String, &Arc<ObjectMeta>)> = self
            .buckets
            .iter()
            .flat_map(|(name, bucket)| {
                bucket
                    .objects
                    .iter()
                    .map(move |(key, (meta, _))| (name, key, meta))
            })
            .collect();
        all.sort_by_key(|(_, _, meta)| std::cmp::Reverse(meta.modified));
        all.into_iter()
            .take(limit)
            .map(|(bucket, key, meta)| (bucket.clone(), key.clone(), meta.clone()))
            .collect()
    }

    pub(super) fn begin_upload(&mut self, id: &str, mut upload: Upload) -> Result<(), OssError> {
        if self.uploads.len() >= MAX_UPLOADS {
            return Err(OssError::limit(format!(
                "There may be {MAX_UPLOADS} multipart uploads at a time: complete or abort some."
            )));
        }
        self.begun += 1;
        upload.order = self.begun;
        self.uploads.insert(id.to_owned(), upload);
        Ok(())
    }

    pub(super) fn resolve_upload(
        &mut self,
        id: &str,
        bucket: &str,
        key: &str,
        adopt: bool,
    ) -> Result<String, OssError> {
        let belongs = |upload: &Upload| upload.bucket == bucket && upload.key == key;
        let known = self.adopted.get(id).map_or(id, String::as_str);
        if self.uploads.get(known).is_some_and(belongs) {
            return Ok(known.to_owned());
        }
        // Bounded: each request can name a new id.
        let adopt = adopt && self.adopted.len() < MAX_UPLOADS;
        let latest = self
            .uploads
            .iter()
            .filter(|(_, upload)| adopt && belongs(upload))
            .max_by_key(|(_, upload)| upload.order)
            .map(|(id, _)| id.clone())
            .ok_or_else(|| OssError::no_such_upload(id))?;
        self.adopted.insert(id.to_owned(), latest.clone());
        Ok(latest)
    }

    pub(super) fn upload(&self, id: &str) -> Result<&Upload, OssError> {
        self.uploads
            .get(id)
            .ok_or_else(|| OssError::no_such_upload(id))
    }

    pub(super) fn put_part(
        &mut self,
        id: &str,
        number: u32,
        part: Part,
    ) -> Result<Option<Part>, OssError> {
        let total: usize = self.uploads.values().map(|upload| upload.parts.len()).sum();
        if total >= MAX_ALL_PARTS {
            return Err(OssError::limit(format!(
                "The open multipart uploads may have {MAX_ALL_PARTS} parts in all: complete or abort some."
            )));
        }
        self.uploads
            .get_mut(id)
            .ok_or_else(|| OssError::no_such_upload(id))
            .map(|upload| upload.parts.insert(number, part))
    }

    pub(super) fn parts(&self, id: &str) -> Result<PartList, OssError> {
        let upload = self.upload(id)?;
        Ok(PartList {
            bucket: upload.bucket.clone(),
            key: upload.key.clone(),
            parts: upload
                .parts
                .iter()
                .map(|(number, part)| (*number, part.clone()))
                .collect(),
        })
    }

    pub(super) fn choose_parts(
        &self,
        id: &str,
        listed: &[ListedPart],
    ) -> Result<Vec<Part>, OssError> {
        let upload = self.upload(id)?;
        if listed.is_empty() {
            return Err(
                OssError::bad_request("InvalidPart", "There are no parts to complete.")
                    .with("UploadId", id),
            );
        }
        let ascending = listed
            .windows(2)
            .all(|pair| pair[0].number < pair[1].number);
        if !ascending {
            return Err(OssError::bad_request(
                "InvalidPartOrder",
                "The list of parts was not in ascending order. The parts list must be specified in order by part number.",
            ));
        }
        let mut chosen = Vec::with_capacity(listed.len());
        for listed in listed {
            let part = upload
                .parts
                .get(&listed.number)
                .filter(|part| part.etag.eq_ignore_ascii_case(&listed.etag))
                .ok_or_else(|| {
                    OssError::bad_request(
                        "InvalidPart",
                        "One or more of the specified parts could not be found or the specified entity tag might not have matched the part's entity tag.",
                    )
                    .with("UploadId", id)
                    .with("PartNumber", listed.number.to_string())
                })?;
            chosen.push(part.clone());
        }
        let all_but_last = chosen.len().saturating_sub(1);
        if chosen[..all_but_last]
            .iter()
            .any(|part| part.size < MIN_PART)
        {
            return Err(OssError::bad_request(
                "EntityTooSmall",
                "Your proposed upload smaller than the minimum allowed size.",
            )
            .with("MinSizeAllowed", MIN_PART.to_string()));
        }
        Ok(chosen)
    }

    pub(super) fn end_upload(&mut self, id: &str) -> Result<Upload, OssError> {
        let ended = self
            .uploads
            .remove(id)
            .ok_or_else(|| OssError::no_such_upload(id))?;
        self.adopted.retain(|_, adopted| adopted != id);
        Ok(ended)
    }

    fn bucket(&self, name: &str) -> Result<&Bucket, OssError> {
        self.buckets
            .get(name)
            .ok_or_else(|| OssError::no_such_bucket(name))
    }
}

fn common_prefix<'a>(key: &'a str, listing: &Listing<'_>) -> Option<&'a str> {
    if listing.delimiter.is_empty() {
        return None;
    }
    let rest = &key[listing.prefix.len()..];
    rest.find(listing.delimiter)
        .map(|at| &key[..listing.prefix.len() + at + listing.delimiter.len()])
}

/// An entry takes about a kilobyte, with its key and metadata at their largest ten.
const MAX_OBJECTS: usize = 100_000;

/// The service allows 100 in a region.
const MAX_BUCKETS: usize = 1_000;

const MAX_UPLOADS: usize = 1_000;

/// The service allows 10,000 in each upload. A part takes about 300 bytes besides its content.
const MAX_ALL_PARTS: usize = 100_000;

/// The service's bound for all parts but the last.
const MIN_PART: u64 = 100 << 10;
