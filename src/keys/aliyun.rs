//! Where the public Alibaba Cloud publishes its keys: one so far, under one URL in two spellings.

pub(crate) const V1_URL: &str = "https://gosspublic.alicdn.com/callback_pub_key_v1.pem";

/// This host also serves large downloads to the public, so its paths are not free.
pub(super) const HOST: &str = "gosspublic.alicdn.com";

pub(super) const PATH: &str = "/callback_pub_key_v{version}.pem";
