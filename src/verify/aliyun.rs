//! The key that the public Alibaba Cloud publishes.

/// The body of `http(s)://gosspublic.alicdn.com/callback_pub_key_v1.pem`, unchanged since 2015: 512
/// bits, used in every region.
pub(super) const V1_PEM: &str = "\
-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKs/JBGzwUB2aVht4crBx3oIPBLNsjGs
C0fTXv+nvlmklvkcolvpvXLTjaxUHR3W9LXxQ2EHXAJfCB+6H2YF1k8CAwEAAQ==
-----END PUBLIC KEY-----
";
