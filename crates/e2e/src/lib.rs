//! Nothing but tests: real SDKs and a real browser upload to a local OSS, which calls an application
//! behind the layer back. `clients/install.sh` installs the SDKs, `browser/install.sh` the browser.
