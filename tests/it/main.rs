//! The behaviour of the crate, one module for each part of it. Tests that need a process of their own
//! stand beside this folder.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod age;
#[cfg(all(feature = "axum", feature = "tracing"))]
mod answers;
mod architecture;
#[cfg(feature = "ticket")]
mod attacks;
#[cfg(feature = "axum")]
mod bodies;
#[cfg(feature = "upload")]
mod body_templates;
mod body_types;
mod bucket;
#[cfg(feature = "upload")]
mod callback_params;
mod canary;
#[cfg(feature = "diagnose")]
mod diagnose;
#[cfg(feature = "diagnose")]
mod diagnose_combined;
#[cfg(feature = "diagnose")]
mod diagnose_unknown;
#[cfg(feature = "upload")]
mod direct_upload;
mod docs;
#[cfg(feature = "ticket")]
mod field_guards;
#[cfg(feature = "axum")]
mod field_variables;
mod guard_config;
mod guard_timeout;
mod guards;
#[cfg(all(feature = "axum", feature = "test-util"))]
mod guide_proxies;
mod http;
mod hyper;
mod key_budget;
mod key_urls;
mod keys;
#[cfg(feature = "tracing")]
mod logs;
#[cfg(all(feature = "diagnose", feature = "tracing"))]
mod mends;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "test-util")]
mod migration;
mod msrv;
#[cfg(all(feature = "reqwest", feature = "upload"))]
mod object_check;
mod opening;
#[cfg(feature = "axum")]
mod placements;
mod properties;
#[cfg(feature = "axum")]
mod rejections;
#[cfg(feature = "diagnose")]
mod remedies;
#[cfg(feature = "test-util")]
mod replay;
#[cfg(feature = "test-util")]
mod replay_hangup;
#[cfg(all(feature = "test-util", feature = "ticket"))]
mod replay_ticket;
#[cfg(feature = "test-util")]
mod run_to_end;
mod targets;
#[cfg(feature = "ticket")]
mod ticket_interop;
#[cfg(feature = "ticket")]
mod tickets;
#[cfg(feature = "full")]
mod troubleshoot;
mod types;
#[cfg(feature = "tracing")]
mod unbound;
#[cfg(feature = "upload")]
mod upload_signatures;
#[cfg(feature = "axum")]
mod variables;
#[cfg(feature = "axum")]
mod vectors;
#[cfg(feature = "warp")]
mod warp;
