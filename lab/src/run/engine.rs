//! A container engine of a scenario's own: Debian's dockerd, in the scenario's network and mount namespaces.
//!
//! Everything that it keeps lies in the folder `engine`, a file system in memory, and it ends with the scenario. Its one
//! image is an empty root: a container gets this host's `/usr` and the scenario's directory, so that the host's nginx runs
//! in it. Steps use two scripts: `bin/docker`, the engine's client, and `bin/container NAME [OPTION…] -- COMMAND…`, which
//! runs a container, waits until something listens in it, and writes its process id into `run/NAME.pid`.

use super::listening::listens;
use crate::process::{PATH, find_program, run_bounded, wait_until};
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long the engine may take to listen, to run something, or to end.
const PATIENCE: Duration = Duration::from_secs(25);

/// The folder of everything that an engine keeps.
pub(super) const FOLDER: &str = "engine";

/// An engine that runs.
#[derive(Debug)]
pub(crate) struct Engine {
    daemon: Child,
    docker: PathBuf,
    /// The control group of its containers, in every hierarchy.
    group: String,
}

impl Engine {
    /// Starts an engine in a scenario's directory.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let folder = dir.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let shown = folder.display().to_string();
        super::run_program("mount", &["-t", "tmpfs", "none", &shown])?;
        // The key of a trust that nobody has any more would else be made in /etc/docker.
        // Namespaces have numbers that no other scenario's has.
        let namespace = fs::read_link("/proc/self/ns/net")?.display().to_string();
        let number: String = namespace.chars().filter(char::is_ascii_digit).collect();
        let group = format!("why502-lab-{number}");
        let settings =
            format!("{{\"deprecated-key-path\": \"{shown}/key.json\", \"cgroup-parent\": \"/{group}\"}}");
        fs::write(folder.join("daemon.json"), settings)?;
        let docker = write_scripts(dir)?;
        let log = fs::File::create(folder.join("log"))?;
        let mut command = Command::new(find_program("dockerd")?);
        command.args([
            "--config-file",
            &format!("{shown}/daemon.json"),
            "--pidfile",
            &format!("{shown}/pid"),
        ]);
        command.args(["--data-root", &format!("{shown}/data"), "--exec-root", &format!("{shown}/exec")]);
        command.args(["-H", &format!("unix://{shown}/docker.sock")]);
        command.env_clear().env("PATH", PATH).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let daemon = command.spawn().context("cannot start dockerd")?;
        let mut engine = Self { daemon, docker, group };
        let socket = format!("unix:{shown}/docker.sock");
        let mut ended = false;
        let ready = wait_until(PATIENCE, || {
            ended = engine.daemon.try_wait().is_ok_and(|status| status.is_some());
            ended || (listens(&socket) && engine.client(&["version"]).is_ok())
        });
        if ended || !ready {
            let words = fs::read_to_string(folder.join("log")).unwrap_or_default();
            bail!("dockerd does not run: {}", super::tail(&words, 3));
        }
        let image = folder.join("image.tar");
        write_image(&image)?;
        engine.client(&["import", &image.display().to_string(), "lab"])?;
        Ok(engine)
    }

    /// Whether an engine runs here, and containers in it.
    pub(crate) fn try_out(dir: &Path) -> Result<()> {
        super::run_program("ip", &["link", "set", "lo", "up"])?;
        let engine = Self::start(dir)?;
        engine.client(&["run", "--rm", "-v", "/usr:/usr:ro", "lab", "true"])
    }

    fn client(&self, arguments: &[&str]) -> Result<()> {
        let finished = run_bounded(Command::new(&self.docker).args(arguments), PATIENCE)?;
        if !finished.status.is_some_and(|status| status.success()) {
            bail!("docker {}: {}", arguments.join(" "), finished.complaint());
        }
        Ok(())
    }
}

impl Drop for Engine {
    /// Containers first: what is left of one would be its control group.
    fn drop(&mut self) {
        let _ = self.client(&["rm-all"]);
        let _ = rustix::process::kill_process(Pid::from_child(&self.daemon), Signal::TERM);
        if !wait_until(PATIENCE, || self.daemon.try_wait().is_ok_and(|status| status.is_some())) {
            let _ = self.daemon.kill();
        }
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(hierarchy.path().join(&self.group));
        }
        let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(&self.group));
    }
}

fn write_scripts(dir: &Path) -> Result<PathBuf> {
    let bin = dir.join("bin");
    fs::create_dir_all(&bin)?;
    let (dir, socket) = (dir.display(), dir.join(FOLDER).join("docker.sock"));
    let client = find_program("docker")?;
    let docker = format!(
        "#!/bin/sh\ndocker='{} -H unix://{}'\ncase $1 in\nrm-all) ids=$($docker ps -aq); [ -z \"$ids\" ] || exec $docker rm -f $ids;;\n*) exec $docker \"$@\";;\nesac\n",
        client.display(),
        socket.display()
    );
    let container = format!(
        r#"#!/bin/sh -e
name=$1; shift; options=
while [ "$1" != -- ]; do options="$options $1"; shift; done
shift
{dir}/bin/docker run -d --name "$name" $options -v /usr:/usr:ro -v {dir}:{dir} lab "$@" >/dev/null
pid=$({dir}/bin/docker inspect -f '{{{{.State.Pid}}}}' "$name")
echo "$pid" >{dir}/run/"$name".pid
for try in $(seq 100); do
    # The engine's own name server listens on 127.0.0.11.
    if cat /proc/"$pid"/net/tcp /proc/"$pid"/net/tcp6 | grep -v 0B00007F | grep -q ' 0A '; then exit 0; fi
    if grep -q ' 00010000 ' /proc/"$pid"/net/unix; then exit 0; fi
    sleep 0.1
done
{dir}/bin/docker logs "$name" >&2
exit 1
"#
    );
    for (name, text) in [("docker", docker), ("container", container)] {
        fs::write(bin.join(name), text)?;
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755))?;
    }
    Ok(bin.join("docker"))
}

/// An empty root, in which `/usr` is to be mounted.
fn write_image(path: &Path) -> Result<()> {
    let mut image = tar::Builder::new(fs::File::create(path)?);
    let mut add = |name: &str, kind: tar::EntryType, mode: u32, content: &[u8], link: &str| -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        if kind == tar::EntryType::Symlink {
            image.append_link(&mut header, name, link)?;
        } else {
            image.append_data(&mut header, name, content)?;
        }
        Ok(())
    };
    for name in [
        "dev/",
        "etc/",
        "proc/",
        "run/",
        "srv/",
        "sys/",
        "usr/",
        "var/",
        "var/lib/",
        "var/lib/nginx/",
        "var/log/",
        "var/log/nginx/",
    ] {
        add(name, tar::EntryType::Directory, 0o755, b"", "")?;
    }
    add("tmp/", tar::EntryType::Directory, 0o1777, b"", "")?;
    for name in ["bin", "lib", "lib64", "sbin"] {
        add(name, tar::EntryType::Symlink, 0o777, b"", &format!("usr/{name}"))?;
    }
    // Images of nginx write their logs to the standard streams.
    for (name, stream) in [("access.log", "stdout"), ("error.log", "stderr")] {
        let link = format!("/dev/{stream}");
        add(&format!("var/log/nginx/{name}"), tar::EntryType::Symlink, 0o777, b"", &link)?;
    }
    let passwd =
        b"root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n";
    add("etc/passwd", tar::EntryType::Regular, 0o644, passwd, "")?;
    let group = b"root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n";
    add("etc/group", tar::EntryType::Regular, 0o644, group, "")?;
    add("etc/nsswitch.conf", tar::EntryType::Regular, 0o644, b"hosts: files dns\n", "")?;
    image.finish()?;
    Ok(())
}
