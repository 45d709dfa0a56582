//! Starts proxies of Debian's packages on loopback.
//!
//! Without a package its rows say that they are skipped, unless `OSS_CALLBACK_REQUIRE_PROXIES` names the
//! program (separated by commas).

use std::{
    fs::File,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::ports::free_port;

/// A program that has not started by then never will, on a machine however busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A proxy that ends with this value.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
    // Removed after the process, as fields are dropped in this order.
    _folder: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Program {
    Nginx,
    Haproxy,
    Caddy,
    Apache,
}

impl Program {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
            Self::Apache => "apache2",
        }
    }

    fn path(self) -> Option<PathBuf> {
        let folders = std::env::var("PATH").unwrap_or_default();
        let mut folders = folders.split(':').chain(["/usr/sbin", "/usr/bin"]);
        folders.find_map(|folder| {
            let path = PathBuf::from(folder).join(self.name());
            path.is_file().then_some(path)
        })
    }

    /// Whether it is there. Says so if it is not, and fails if it has to be.
    pub fn is_installed(self) -> bool {
        if self.path().is_some() {
            return true;
        }
        let name = self.name();
        let required = std::env::var("OSS_CALLBACK_REQUIRE_PROXIES").unwrap_or_default();
        assert!(
            required.split(',').all(|required| required != name),
            "{name} is required and not installed"
        );
        eprintln!("SKIPPED: {name} is not installed; Debian has a package of that name");
        false
    }

    /// Starts it. `lines` are those of one location, virtual host or site, which may hold `{app}`, the
    /// address of the application. `outer` are those around it.
    pub fn start(self, app: SocketAddr, outer: &[&str], lines: &[String]) -> Running {
        // Another process may take the port between the question and its use.
        for _ in 0..4 {
            if let Some(running) = self.try_start(app, outer, lines) {
                return running;
            }
        }
        panic!("{} does not start with {lines:#?}", self.name());
    }

    fn try_start(self, app: SocketAddr, outer: &[&str], lines: &[String]) -> Option<Running> {
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let lines = lines.join("\n").replace("{app}", &app.to_string());
        let (config, arguments) =
            self.configuration(folder.path(), address, app, &outer.join("\n"), &lines);
        let path = folder.path().join("config");
        std::fs::write(&path, &config).unwrap();
        let output = File::create(folder.path().join("output")).unwrap();
        let mut child = Command::new(self.path()?)
            .args(&arguments)
            .arg(&path)
            .env("HOME", folder.path())
            .env("XDG_DATA_HOME", folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let begin = Instant::now();
        loop {
            if TcpStream::connect(address).is_ok() {
                return Some(Running {
                    child,
                    address,
                    _folder: folder,
                });
            }
            let ended = child.try_wait().unwrap().is_some();
            if ended || begin.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                for name in ["output", "log"] {
                    let text = std::fs::read_to_string(folder.path().join(name));
                    eprintln!("{} {name}: {}", self.name(), text.unwrap_or_default());
                }
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What is in its file, and the arguments before the name of that.
    fn configuration(
        self,
        folder: &Path,
        address: SocketAddr,
        app: SocketAddr,
        outer: &str,
        lines: &str,
    ) -> (String, Vec<String>) {
        let at = folder.display();
        match self {
            Self::Nginx => {
                let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|name| format!("{name}_temp_path {at}/{name};\n"))
                    .concat();
                let config = format!(
                    "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/log warn;\n\
                     events {{ worker_connections 32; }}\n\
                     http {{\naccess_log off;\n{temporary}{outer}\n\
                     upstream app {{ server {app}; }}\n\
                     server {{\nlisten {address};\n{lines}\n}}\n}}\n"
                );
                (
                    config,
                    vec!["-p".to_owned(), at.to_string(), "-c".to_owned()],
                )
            }
            Self::Haproxy => {
                let config = format!(
                    "global\n{outer}\n\
                     defaults\nmode http\ntimeout connect 5s\ntimeout client 20s\ntimeout server 20s\n\
                     frontend callbacks\nbind {address}\n{lines}\ndefault_backend app\n\
                     backend app\nserver app {app}\n"
                );
                (config, vec!["-db".to_owned(), "-f".to_owned()])
            }
            Self::Caddy => {
                let config = format!(
                    "{{\nadmin off\nauto_https off\n{outer}\n}}\nhttp://:{} {{\nbind 127.0.0.1\n{lines}\n}}\n",
                    address.port()
                );
                let arguments = ["run", "--adapter", "caddyfile", "--config"];
                (config, arguments.map(ToOwned::to_owned).to_vec())
            }
            Self::Apache => {
                let modules: String = [
                    "mpm_event",
                    "authz_core",
                    "proxy",
                    "proxy_http",
                    "rewrite",
                    "headers",
                    "filter",
                    "sed",
                ]
                .map(|module| {
                    format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n")
                })
                .concat();
                let config = format!(
                    "ServerRoot {at}\nPidFile {at}/pid\nDefaultRuntimeDir {at}\nUser www-data\nGroup www-data\nErrorLog {at}/log\n\
                     ServerName app.example.test\n{modules}Mutex file:{at}\n{outer}\n\
                     Listen {address}\n<VirtualHost *:*>\n{lines}\n</VirtualHost>\n"
                );
                (config, vec!["-DFOREGROUND".to_owned(), "-f".to_owned()])
            }
        }
    }
}
