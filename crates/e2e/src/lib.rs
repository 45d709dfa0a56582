//! Nothing but tests: real SDKs upload to a local OSS, which calls an application behind the layer
//! back. `clients/install.sh` installs the SDKs.
