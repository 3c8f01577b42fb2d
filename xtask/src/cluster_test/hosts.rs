//! Two network namespaces, joined by a pair of virtual Ethernet devices, as two hosts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::check::find;

/// The namespaces.
const NAMES: [&str; 2] = ["candle-gan-test-a", "candle-gan-test-b"];

/// Seconds that a run may take.
const LIMIT: &str = "300";

/// Addresses of the hosts; the namespaces have no others, so any will do.
const NETWORK: &str = "10.77.0.0/24";
const ADDRESSES: [&str; 2] = ["10.77.0.1", "10.77.0.2"];

/// What the test lacks on this machine, if anything.
pub(super) fn missing() -> Option<&'static str> {
    let id = Command::new("id").arg("-u").output();
    let is_root = cfg!(target_os = "linux") && id.is_ok_and(|id| id.stdout == b"0\n");
    let programs = [
        ("mpirun", "Open MPI's mpirun"),
        ("mpicc", "Open MPI's headers"),
        ("ip", "ip, of iproute2"),
    ];
    match is_root {
        false => Some("Linux and root, for network namespaces"),
        true => programs.iter().find(|(name, _)| find(&[name]).is_none()).map(|(_, text)| *text),
    }
}

/// Two hosts. They are removed when this is dropped.
pub(super) struct Hosts {
    /// What starts Open MPI's daemon on the second, in the place of ssh.
    agent: PathBuf,
    place: PathBuf,
}

impl Hosts {
    /// Makes them, with files in `place`. Returns `None` where the system does not let them be made.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub(super) fn make(place: &Path) -> Result<Option<Self>> {
        let agent = place.join("agent.sh");
        let daemon = place.join("daemon");
        for directory in [&daemon, &place.join("launcher")] {
            fs::create_dir_all(directory)?;
        }
        // Open MPI calls it as it would call ssh: HOST COMMAND.
        let text = format!(
            "#!/bin/sh\nshift\nexec ip netns exec {} env TMPDIR='{}' sh -c \"$*\"\n",
            NAMES[1],
            daemon.display()
        );
        fs::write(&agent, text)?;
        let hosts = Self { agent, place: place.to_path_buf() };
        Ok(hosts.connect().is_ok().then_some(hosts))
    }

    fn connect(&self) -> Result<()> {
        let [a, b] = NAMES;
        for name in NAMES {
            // A test that was killed has left it.
            let _ = ip(&format!("netns delete {name}"));
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        ip(&format!("link add eth-a netns {a} type veth peer name eth-b netns {b}"))?;
        for (name, (device, address)) in
            NAMES.into_iter().zip(["eth-a", "eth-b"].into_iter().zip(ADDRESSES))
        {
            ip(&format!("-n {name} address add {address}/24 dev {device}"))?;
            ip(&format!("-n {name} link set {device} up"))?;
        }
        Ok(())
    }

    /// The command that runs a program on so many ranks, half of them on each host.
    pub(super) fn launch(&self, program: &Path, ranks: usize) -> Command {
        let mut command = Command::new("ip");
        // Ranks that wait for each other for ever fail the test.
        command.args(["netns", "exec", NAMES[0], "timeout", "--signal=KILL", LIMIT, "mpirun"]);
        command.env("TMPDIR", self.place.join("launcher"));
        command.args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]);
        let on_each = ranks / 2;
        command.args(["--host", &ADDRESSES.map(|host| format!("{host}:{on_each}")).join(",")]);
        let parameters = [
            ("plm_rsh_agent", format!("/bin/sh {}", self.agent.display())),
            ("pml", "ob1".to_string()),
            ("btl", "tcp,self".to_string()),
            ("btl_tcp_if_include", NETWORK.to_string()),
            ("oob_tcp_if_include", NETWORK.to_string()),
        ];
        for (name, value) in parameters {
            command.args(["--mca", name, &value]);
        }
        command.args(["-n", &ranks.to_string()]).arg(program);
        command
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in NAMES {
            let _ = ip(&format!("netns delete {name}"));
        }
    }
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output().context("starting ip")?;
    ensure!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A training that runs, on one rank or on several.
pub(super) struct Running(Child);

/// How a training ended.
pub(super) struct Ended {
    pub(super) success: bool,
    /// What it printed on both streams.
    pub(super) output: String,
}

impl Running {
    pub(super) fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self(command.spawn().context("starting a run")?))
    }

    /// Kills a rank of a program. Returns whether it was there.
    pub(super) fn kill(&mut self, program: &Path, rank: usize) -> Result<bool> {
        let program = fs::canonicalize(program)?;
        let wanted = format!("OMPI_COMM_WORLD_RANK={rank}");
        for entry in fs::read_dir("/proc")?.flatten() {
            let Ok(variables) = fs::read(entry.path().join("environ")) else { continue };
            let mut variables = variables.split(|byte| *byte == 0);
            let exe = fs::read_link(entry.path().join("exe")).unwrap_or_default();
            if variables.any(|variable| variable == wanted.as_bytes()) && exe == program {
                let id = entry.file_name();
                let killed = Command::new("kill").arg("-KILL").arg(id).status();
                return Ok(killed.context("starting kill")?.success());
            }
        }
        Ok(false)
    }

    /// Waits until it ends.
    pub(super) fn end(self) -> Result<Ended> {
        let output = self.0.wait_with_output().context("waiting for a run")?;
        let text = [output.stdout, output.stderr].concat();
        let output_text = String::from_utf8_lossy(&text).into_owned();
        Ok(Ended { success: output.status.success(), output: output_text })
    }
}
