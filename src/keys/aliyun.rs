//! What the public Alibaba Cloud publishes: one key so far, under one URL in two spellings.

/// The body of `http(s)://gosspublic.alicdn.com/callback_pub_key_v1.pem`, unchanged since 2015: 512
/// bits, used in every region.
pub(crate) const ALIYUN_V1_PEM: &str = "\
-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKs/JBGzwUB2aVht4crBx3oIPBLNsjGs
C0fTXv+nvlmklvkcolvpvXLTjaxUHR3W9LXxQ2EHXAJfCB+6H2YF1k8CAwEAAQ==
-----END PUBLIC KEY-----
";

pub(super) const V1_URL: &str = "https://gosspublic.alicdn.com/callback_pub_key_v1.pem";

/// This host also serves large downloads to the public, so its paths are not free.
pub(super) const HOST: &str = "gosspublic.alicdn.com";

pub(super) const PATH: &str = "/callback_pub_key_v{version}.pem";
