//! given: turns rows of the corpus into a catalog, a repository and servers. In: rows. Out: real files, Git objects, archives, answers.
//! Never: judges what comes of them; writes anything that a hub is not meant to read, but the secrets it must not show.

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use harness::canary::Canary;
use harness::charts::{Answer, ChartServer, Wants};
use harness::fleet::{Fleet, documents};
use harness::git::{Repository, Server};

use crate::charts::given::Given;
use crate::hostile::corpus::{Hostile, Row, Token};
use crate::hostile::objects::Raw;
use crate::hostile::servers;
use crate::rendering::given::{HEAD, paths};

/// What a hub shows to the servers of charts.
pub const PASSWORD: &str = "a-password-that-no-other-host-may-see";

/// Servers and secrets beside a hub.
pub struct Places {
    pub given: Given,
    /// What lies beside the hub, and in none of its repositories.
    pub secret: Canary,
    /// Wants the password.
    pub charts: ChartServer,
    /// Where others lead to.
    pub other: ChartServer,
    repository: Repository,
    server: Server,
}

impl Places {
    pub async fn new() -> Self {
        let given = Given::new();
        let (charts, other) = (given.server().await, given.server().await);
        charts.want(Wants::Basic("me", PASSWORD));
        given.write("password", PASSWORD);
        let repository = Repository::with("hostile", &[("readme.md", "nothing\n")]).expect("a repository");
        let server = repository.serve().expect("it is served");
        let secret = Canary::new();
        given.write("outside/secret.yaml", &documents::config_map("secret", secret.value()));
        given.write("outside/secret.json", &format!("{{\"secret\": \"{}\"}}\n", secret.value()));
        given.write("outside/chart/Chart.yaml", "apiVersion: v2\nname: other\nversion: 1.0.0\n");
        given.write("outside/chart/templates/a.yaml", &documents::config_map("secret", secret.value()));
        given.write("home/.gitconfig", "[core]\n\tsymlinks = true\n");
        Self { given, secret, charts, other, repository, server }
    }

    /// What the hub is told of its engines and of the servers.
    pub fn configuration(&self) -> String {
        let engines = paths();
        let path = |name: &str| self.given.path(name).display().to_string();
        let (helm, kustomize) = (engines.helm.expect("it is there"), engines.kustomize.expect("it is there"));
        let of_charts = |name: &str, url: String| {
            let (password, ca) = (path("password"), path("ca.pem"));
            format!(
                "{{name: {name}, url: '{url}', basic: {{username: me, passwordFile: {password}}}, caFile: {ca}}}"
            )
        };
        let charts = of_charts("charts", self.charts.url("/"));
        let registry = of_charts("registry", self.charts.oci("/"));
        let others = [("other", self.other.url("/")), ("packs", self.packs() + "/")];
        let [other, packs] =
            others.map(|(name, url)| format!("{{name: {name}, url: '{url}', caFile: {}}}", path("ca.pem")));
        format!(
            "engines: {{helm: {}, kustomize: {}}}\ncredentials: [{charts}, {registry}, {other}, {packs}]\n",
            helm.display(),
            kustomize.display()
        )
    }

    /// A row's text, with what stands for places and for large things filled in.
    pub fn filled(&self, row: &Row, text: &str) -> String {
        let outside = self.given.path("outside").display().to_string();
        let text = text.replace("{app}", row.app).replace("{outside}", &outside);
        let text = text.replace("{charts}", &self.charts.url("")).replace("{other}", &self.other.url(""));
        let text = text.replace("{other-host}", self.other.url("").trim_start_matches("https://"));
        let text = text.replace("{registry}", &self.charts.oci("")).replace("{packs}", &self.packs());
        let text = text.replace("{git}", &self.server.url()).replace("{bomb}", &bomb());
        text.replace("{deep}", &"[".repeat(100_000)).replace("{not}", &"{\"not\":".repeat(100_000))
    }

    /// Puts a row where the hub will find it.
    pub fn put(&self, catalog: &Repository, row: &Row) {
        let remote =
            format!("{{helm: {{repository: '{{charts}}/{0}', chart: {0}, version: 1.0.0}}}}", row.app);
        let source = match &row.hostile {
            Hostile::Files(source, files) => {
                for (path, text) in *files {
                    let path = format!("apps/{}/{path}", row.app);
                    match text.strip_prefix("-> ") {
                        Some(to) => link(catalog, &path, &self.filled(row, to)),
                        None => catalog.write(&path, &self.filled(row, text)).expect("it is written"),
                    }
                }
                (*source).to_owned()
            }
            Hostile::Tree(make) => {
                let raw = Raw { repository: &self.repository, room: &self.given };
                let tree = make(&raw, row.app, &self.given.path("outside").display().to_string());
                raw.branch(row.app, &tree);
                format!("{{git: {{url: '{{git}}', ref: {}, path: m}}}}", row.app)
            }
            Hostile::Archive(make) => {
                let archive = zipped(&make(row.app));
                self.charts.put(&format!("/{}/a.tgz", row.app), archive);
                let index = format!("entries: {{{}: [{{version: 1.0.0, urls: [a.tgz]}}]}}\n", row.app);
                self.charts.put(&format!("/{}/index.yaml", row.app), index);
                remote
            }
            Hostile::Index(text) => {
                let archive = zipped(&good_chart(row.app));
                self.charts.put(&format!("/{}/a.tgz", row.app), archive.clone());
                self.other.put(&format!("/{}/a.tgz", row.app), archive);
                self.charts.put(&format!("/{}/index.yaml", row.app), self.filled(row, text));
                remote
            }
            Hostile::Redirect(to) => {
                let path = format!("/{}/index.yaml", row.app);
                self.charts.answer(&path, Answer::Redirect(self.filled(row, to)));
                remote
            }
            Hostile::Endless => {
                self.charts.answer(&format!("/{}/index.yaml", row.app), Answer::Endless);
                remote
            }
            Hostile::GitAnswers(answer) => {
                let path = format!("/{}/info/refs", row.app);
                let answer = match answer {
                    Some(to) => Answer::Redirect(self.filled(row, to)),
                    None => Answer::Endless,
                };
                self.other.answer(&path, answer);
                "{git: {url: '{other}/{app}', ref: main, path: m}}".to_owned()
            }
            Hostile::Pack(make) => {
                self.other.answer(&format!("/{}/info/refs", row.app), servers::begins(false));
                let sends = servers::sends(make(row.app));
                self.other.answer(&format!("/{}/git-upload-pack", row.app), sends);
                "{git: {url: '{packs}/{app}', ref: main, path: m}}".to_owned()
            }
            Hostile::Leads(status, to) => {
                self.leads(row, "info/refs", *status, to);
                "{git: {url: '{charts}/{app}', ref: main, path: m}}".to_owned()
            }
            Hostile::LeadsLate(status, to) => {
                self.charts.answer(&format!("/{}/info/refs", row.app), servers::begins(true));
                self.leads(row, "git-upload-pack", *status, to);
                "{git: {url: '{charts}/{app}', ref: main, path: m}}".to_owned()
            }
            Hostile::Challenge(header, token) => {
                let path = format!("/v2/{0}/{0}/manifests/1.0.0", row.app);
                self.charts.answer(&path, servers::challenges(self.filled(row, header)));
                let token = match token {
                    Token::Nowhere => None,
                    Token::Says(text) => Some(servers::says(self.filled(row, text))),
                    Token::Leads(to) => Some(Answer::Redirect(self.filled(row, to))),
                    Token::Endless => Some(Answer::Endless),
                };
                if let Some(token) = token {
                    self.charts.answer(&format!("/{}/token", row.app), token);
                }
                // Whoever gets a token there has none for here.
                self.other.answer(&format!("/{}/token", row.app), servers::says("{\"token\": \"x\"}".into()));
                "{helm: {repository: '{registry}/{app}', chart: {app}, version: 1.0.0}}".to_owned()
            }
        };
        let source = self.filled(row, &source);
        let app = format!(
            "{HEAD}kind: App\nmetadata: {{name: {0}}}\nspec: {{source: {source}, namespace: {{name: {0}}}}}\n---\n",
            row.app
        );
        let placement = documents::placement(row.app, &[row.app], "{selector: {}}");
        catalog.write(&format!("apps/{}.yaml", row.app), &(app + &placement)).expect("it is written");
    }
}

impl Places {
    /// The other server by another name: of one host only some repositories are fetched at a time, and those here take theirs.
    fn packs(&self) -> String {
        self.other.url("").replace("127.0.0.1", "localhost")
    }

    /// Leads from a Git repository beside the charts to another place; whom it leads to the other server wants a password of.
    fn leads(&self, row: &Row, path: &str, status: u16, to: &str) {
        let path = format!("/{}/{path}", row.app);
        self.charts.answer(&path, servers::leads(status, self.filled(row, to)));
        self.other.answer(&path, servers::wants());
    }
}

fn link(catalog: &Repository, path: &str, to: &str) {
    let path = catalog.path().join(path);
    std::fs::create_dir_all(path.parent().expect("it is below")).expect("it is made");
    std::os::unix::fs::symlink(to, path).expect("it is linked");
}

/// Nine levels of nine aliases, 387 million in all, as one flow mapping that any YAML may hold.
fn bomb() -> String {
    let levels = (1..=9).map(|level| {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        format!(", a{level}: &a{level} [{aliases}]")
    });
    format!("{{a0: &a0 [x, x]{}}}", levels.collect::<String>())
}

/// One file of a tar archive, of whatever kind, with whatever name.
pub fn entry(name: &str, kind: u8, target: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut set = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    set(0, name.as_bytes());
    set(100, b"0000644\0");
    set(124, format!("{:011o}\0", content.len()).as_bytes());
    set(136, b"00000000000\0");
    set(148, b"        ");
    set(156, &[kind]);
    set(157, target.as_bytes());
    set(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend_from_slice(content);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

/// A file of a tar archive.
pub fn file(name: &str, content: &str) -> Vec<u8> {
    entry(name, b'0', "", content.as_bytes())
}

/// A chart that means no harm, of this name.
pub fn good_chart(app: &str) -> Vec<u8> {
    let chart = format!("apiVersion: v2\nname: {app}\nversion: 1.0.0\n");
    let template = documents::config_map(app, "harmless");
    [file("c/Chart.yaml", &chart), file("c/templates/a.yaml", &template)].concat()
}

fn zipped(tar: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(tar).and_then(|()| encoder.write_all(&[0; 1024])).expect("memory is written");
    encoder.finish().expect("memory is written")
}

/// Everything below a directory but some of it: paths, and of files how long they are.
pub fn listing(directory: &Path, but: &[&Path]) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(next) = open.pop() {
        if but.contains(&&*next) {
            continue;
        }
        let known = std::fs::symlink_metadata(&next).expect("it is there");
        let length = if known.is_file() { known.len() } else { 0 };
        found.push(format!("{} {length}", next.display()));
        if known.is_dir() {
            let entries = std::fs::read_dir(&next).expect("it is read");
            open.extend(entries.map(|entry| entry.expect("it is read").path()));
        }
    }
    found.sort();
    found
}

/// The most memory that a process had at once, in bytes.
pub fn peak(fleet: &mut Fleet) -> u64 {
    let id = fleet.hub_process().expect("it runs").id();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") << 10
}
