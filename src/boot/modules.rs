//! How the conntrack module is loaded at the next boot: by what, and with which options.
//!
//! In: the files of modules-load.d and modprobe.d, modules.dep of each kernel, the kernel command
//! line. Out: a [`Loading`], a [`HashSize`], each with the line it comes from.
//! Rule: pure; where a file could not be read, nothing is claimed that it could contradict.
//! Follows modules-load.d(5), modprobe.d(5), modprobe(8), and kmod 30, libkmod-module.c.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::PathBuf;

use super::SourceLine;
use super::command_line::CommandLine;
use super::next_boot::NotApplied;
use super::pattern::matches_text;
use crate::diagnostic::plain::Shown;
use crate::tunable::{self, Key};

/// Folders of modules-load.d; of one name the first counts.
pub(crate) const MODULES_LOAD_FOLDERS: [&str; 4] = [
    "/etc/modules-load.d",
    "/run/modules-load.d",
    "/usr/local/lib/modules-load.d",
    "/usr/lib/modules-load.d",
];
/// The list that init scripts read beside them.
pub(crate) const LIST: &str = "/etc/modules";
/// Folders of modprobe.d; of one name the first counts.
pub(crate) const MODPROBE_FOLDERS: [&str; 5] = [
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
];
/// Folders of udev's rules; of one name the first counts.
pub(crate) const UDEV_FOLDERS: [&str; 5] = [
    "/etc/udev/rules.d",
    "/run/udev/rules.d",
    "/usr/local/lib/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/lib/udev/rules.d",
];

pub(super) const MODULE: &str = "nf_conntrack";
/// Other names under which modprobe finds it: `modinfo -F alias nf_conntrack`, 5.10 to 6.18.
const ALIASES: [&str; 3] = ["ip_conntrack", "nf_conntrack_2", "nf_conntrack_10"];
/// A hash size that was asked for makes max eight times as large: `max_factor` in
/// `nf_conntrack_init_start`; seen on 5.10, 6.1 and 6.12.
const MAX_PER_BUCKET: i64 = 8;

/// One file of a folder of configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfFile {
    /// Its path.
    pub(crate) path: PathBuf,
    /// What is in it, nothing where it is masked; `None` if it could not be read.
    pub(crate) bytes: Option<Vec<u8>>,
}

/// Everything that decides how the module is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ModuleFiles {
    /// The files of [`MODULES_LOAD_FOLDERS`], in the order of the folders.
    pub(crate) modules_load: Vec<ConfFile>,
    /// The files of [`MODPROBE_FOLDERS`], in the order of the folders.
    pub(crate) modprobe: Vec<ConfFile>,
    /// For each kernel, the modules that load conntrack with them.
    pub(crate) dependents: Vec<BTreeSet<String>>,
    /// The kernel command line.
    pub(crate) command_line: CommandLine,
    /// What keeps the program from being run that loads the modules of modules-load.d.
    pub(crate) idle: Option<NotApplied>,
}

/// What loads the module before sysctl.d is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loading {
    /// A line of modules-load.d names it, or a module that needs it.
    Early(SourceLine),
    /// A line of modules-load.d does, and this `blacklist` keeps it from being loaded there.
    Denied(SourceLine),
    /// It is never loaded: `install nf_conntrack /bin/true`, `module_blacklist=`.
    Never(SourceLine),
    /// An `install` line runs another program, which may load it.
    Installed(SourceLine),
    /// A `softdep` line may load it, or keep its `install` line from being used.
    Soft(SourceLine),
    /// Nothing does.
    Nothing,
    /// A file names it, and nothing reads the files.
    Idle(NotApplied),
    /// A file that could not be read may do it.
    Unknown(PathBuf),
}

impl Loading {
    /// Why it is not clear whether anything loads it, if that is so.
    pub(crate) fn unclear(&self) -> Option<String> {
        match self {
            Loading::Installed(line) => Some(format!(
                "{line} runs a program in place of loading nf_conntrack"
            )),
            Loading::Soft(line) => Some(format!(
                "{line} is a softdep, which cttune does not follow, about nf_conntrack"
            )),
            Loading::Unknown(path) => Some(format!("{} cannot be read", path.shown())),
            _ => None,
        }
    }
}

/// What loading a name comes to.
enum Leads {
    /// The module, or one that needs it, perhaps by an alias.
    Module(Option<String>),
    /// It would, but for this line.
    Denied(SourceLine),
    Elsewhere,
}

/// An `options nf_conntrack hashsize=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HashSize {
    /// The line.
    pub(crate) line: SourceLine,
    /// What it asks for.
    pub(crate) asked: i64,
}

impl HashSize {
    /// The buckets that the kernel makes of it.
    pub(crate) fn buckets(&self) -> i64 {
        tunable::as_held(Key::Buckets, self.asked)
    }

    /// What `nf_conntrack_max` becomes by it.
    pub(crate) fn max(&self) -> i64 {
        self.buckets().saturating_mul(MAX_PER_BUCKET)
    }
}

impl ModuleFiles {
    /// What loads the module before sysctl.d is applied.
    pub(crate) fn loading(&self) -> Loading {
        if let Some(never) = self.refused_by_the_kernel() {
            return Loading::Never(never);
        }
        if let Some((line, command)) = self.install_command() {
            // kmod passes over the `install` line of a module that has a softdep it knows.
            if let Some((softdep, _)) = self
                .softdeps()
                .into_iter()
                .find(|(_, name)| *name == MODULE)
            {
                return Loading::Soft(softdep);
            }
            return match install_loads(&command) {
                Some(false) => Loading::Never(line),
                Some(true) => match self.aliased(MODULE) {
                    Some(Err(away)) => Loading::Never(away),
                    _ => self.loaded_early(),
                },
                None => Loading::Installed(line),
            };
        }
        self.loaded_early()
    }

    fn loaded_early(&self) -> Loading {
        match self.first_named() {
            Ok((line, _)) => Loading::Early(line),
            Err(other) => {
                let mut softdeps = self.softdeps().into_iter();
                let of_another = softdeps.find(|(_, name)| *name != MODULE);
                of_another.map_or(other, |(line, _)| Loading::Soft(line))
            }
        }
    }

    /// The `softdep` lines about the module, and whose they are: its own, or those of another that
    /// loads it.
    fn softdeps(&self) -> Vec<(SourceLine, String)> {
        let of = |(line, text): (SourceLine, String)| {
            let mut words = text.split_ascii_whitespace();
            let name = (words.next()? == "softdep").then(|| words.next().map(plain))??;
            let brings = |word| {
                let word = plain(word);
                ALIASES.contains(&word.as_str()) || self.brings_conntrack(&word)
            };
            (name == MODULE || words.any(brings)).then_some((line, name))
        };
        self.modprobe_lines().into_iter().filter_map(of).collect()
    }

    /// The alias by which modules-load.d loads the module, whose options count then too.
    pub(super) fn alias(&self) -> Option<String> {
        self.first_named().ok()?.1
    }

    /// The first line that loads the module, and the alias that it names; or why none does.
    fn first_named(&self) -> Result<(SourceLine, Option<String>), Loading> {
        let files = in_reading_order(&self.modules_load);
        let mut named: Vec<(SourceLine, String)> = files.iter().copied().flat_map(lines).collect();
        named.retain(|(_, text)| !text.starts_with(['#', ';']));
        if let Some(from) = self.command_line.from() {
            let loaded = self.command_line.loaded();
            named.extend(loaded.map(|name| (from.clone(), name.to_owned())));
        }
        let mut denied = None;
        for (line, name) in named {
            match self.leads(&plain(&name)) {
                Leads::Module(alias) => {
                    let idle = self.idle.clone().map(Loading::Idle);
                    return idle.map_or(Ok((line, alias)), Err);
                }
                Leads::Denied(by) => denied = denied.or(Some(by)),
                Leads::Elsewhere => {}
            }
        }
        Err(
            match (denied, files.iter().find(|file| file.bytes.is_none())) {
                (Some(by), _) => Loading::Denied(by),
                (None, Some(file)) => Loading::Unknown(file.path.clone()),
                (None, None) => Loading::Nothing,
            },
        )
    }

    /// What loading a name comes to. An alias of modprobe.d counts before the module's own name,
    /// and an `install` line of the name before the aliases that the module brings itself. A deny
    /// list has names of modules, and keeps none away that another needs.
    fn leads(&self, name: &str) -> Leads {
        let lines = self.modprobe_lines();
        let (module, alias) = match self.aliased(name) {
            Some(Ok(module)) => (module, Some(name.to_owned())),
            Some(Err(line)) if self.brings_conntrack(name) => return Leads::Denied(line),
            None if self.brings_conntrack(name) => (name.to_owned(), None),
            None if ALIASES.contains(&name) => (MODULE.to_owned(), Some(name.to_owned())),
            _ => return Leads::Elsewhere,
        };
        let denies = |text: &str| {
            let mut words = text.split_ascii_whitespace();
            match (words.next(), words.next()) {
                (Some("blacklist"), Some(denied)) => plain(denied) == module,
                (Some("install"), Some(own)) => module == MODULE && alias.as_deref() == Some(own),
                _ => false,
            }
        };
        let line = lines.iter().find(|(_, text)| denies(text));
        let from = self.command_line.from();
        let on_command_line =
            from.filter(|_| self.command_line.lists("modprobe.blacklist", &module));
        match line.map(|(line, _)| line).or(on_command_line) {
            Some(line) => Leads::Denied(line.clone()),
            None => Leads::Module(alias),
        }
    }

    /// The module that brings conntrack by an `alias` line for this name, or the line that leads
    /// elsewhere.
    fn aliased(&self, name: &str) -> Option<Result<String, SourceLine>> {
        let lines = self.modprobe_lines();
        let mut aliases = lines.into_iter().filter_map(|(line, text)| {
            let mut words = text.split_ascii_whitespace();
            let is_alias = words.next() == Some("alias");
            let (pattern, module) = (words.next()?, words.next()?);
            (is_alias && matches_text(&plain(pattern), name)).then(|| (line, plain(module)))
        });
        let first = aliases.next()?;
        let away = first.0.clone();
        let mut modules = std::iter::once(first)
            .chain(aliases)
            .map(|(_, module)| module);
        Some(
            modules
                .find(|module| self.brings_conntrack(module))
                .ok_or(away),
        )
    }

    /// The hash size that the module is given, if one is.
    pub(crate) fn hash_size(&self) -> Option<HashSize> {
        let mut found = None;
        let alias = self.alias();
        let is_own = |name: &str| {
            let name = plain(name);
            name == MODULE || alias.as_ref() == Some(&name)
        };
        for (line, text) in self.modprobe_lines() {
            let mut words = text.split_ascii_whitespace();
            if words.next() != Some("options") || !words.next().is_some_and(is_own) {
                continue;
            }
            let values = words.filter_map(|word| word.strip_prefix("hashsize="));
            found = last_size(values, &line).or(found);
        }
        if let Some((line, command)) = self.install_command() {
            let words = command.split_ascii_whitespace();
            found = last_size(
                words.filter_map(|word| word.strip_prefix("hashsize=")),
                &line,
            )
            .or(found);
        }
        // kmod puts the command line's options behind those of the files.
        self.hash_size_of_command_line().or(found)
    }

    /// The hash size that the command line gives to the module, or to a built-in conntrack.
    pub(crate) fn hash_size_of_command_line(&self) -> Option<HashSize> {
        hash_size_of(&self.command_line)
    }

    /// `module_blacklist=` of the kernel itself: no program can load the module then.
    fn refused_by_the_kernel(&self) -> Option<SourceLine> {
        let from = self.command_line.from()?;
        self.command_line
            .lists("module_blacklist", MODULE)
            .then(|| from.clone())
    }

    /// The command that runs instead of loading the module: the first that fits its name.
    pub(crate) fn install_command(&self) -> Option<(SourceLine, String)> {
        self.modprobe_lines().into_iter().find_map(|(line, text)| {
            let rest = text
                .strip_prefix("install")?
                .strip_prefix([' ', '\t'])?
                .trim_start();
            let (module, command) = rest.split_once([' ', '\t'])?;
            matches_text(&plain(module), MODULE).then(|| (line, command.trim().to_owned()))
        })
    }

    fn modprobe_lines(&self) -> Vec<(SourceLine, String)> {
        let files = in_reading_order(&self.modprobe);
        files.into_iter().flat_map(lines).collect()
    }

    fn brings_conntrack(&self, name: &str) -> bool {
        let needs_it = |kernel: &BTreeSet<String>| kernel.contains(name);
        name == MODULE || (!self.dependents.is_empty() && self.dependents.iter().all(needs_it))
    }
}

/// The hash size that a kernel command line gives.
pub(super) fn hash_size_of(line: &CommandLine) -> Option<HashSize> {
    let values = line.options().filter(|(name, _)| *name == "hashsize");
    last_size(values.map(|(_, value)| value), line.from()?)
}

/// Of several sizes the kernel takes the last.
fn last_size<'a>(values: impl Iterator<Item = &'a str>, line: &SourceLine) -> Option<HashSize> {
    let asked = values
        .filter_map(|value| tunable::kernel_number(Key::Buckets, value))
        .last()?;
    Some(HashSize {
        line: line.clone(),
        asked,
    })
}

/// Whether an `install` command loads the module; none where that cannot be told.
fn install_loads(command: &str) -> Option<bool> {
    let is_blank =
        |c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '{' | '}');
    let words = command.split(is_blank).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.collect();
    let program = words.first()?.rsplit('/').next()?;
    if matches!(program, "true" | "false" | ":" | "exit" | "echo" | "logger")
        && !command.contains("modprobe")
    {
        return Some(false);
    }
    let ignores = words
        .iter()
        .any(|word| matches!(*word, "--ignore-install" | "-i"));
    let names = words
        .iter()
        .any(|word| is_conntrack(word) || *word == "$MODPROBE_MODULE");
    let loads = words
        .iter()
        .any(|word| word.ends_with("modprobe") || word.ends_with("insmod"));
    (loads && ignores && names).then_some(true)
}

/// The modules that need conntrack, from a kernel's modules.dep(5).
pub(crate) fn dependents(modules_dep: &str) -> BTreeSet<String> {
    let needs_it = |path: &str| module_of(path) == MODULE;
    let lines = modules_dep.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(_, needed)| needed.split_ascii_whitespace().any(needs_it))
        .map(|(path, _)| module_of(path))
        .collect()
}

/// The name of the module in a file: `kernel/net/netfilter/nf_nat.ko.xz` has `nf_nat`.
fn module_of(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    plain(name.split(".ko").next().unwrap_or(name))
}

/// A module's name as the kernel spells it.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

/// Whether a name is the module's or an alias of it.
pub(super) fn is_conntrack(name: &str) -> bool {
    let name = plain(name);
    name == MODULE || ALIASES.contains(&name.as_str())
}

/// The files that are read, in order: by name over all folders; of one name the first folder's.
pub(super) fn in_reading_order(files: &[ConfFile]) -> Vec<&ConfFile> {
    let mut by_name: BTreeMap<Option<&OsStr>, &ConfFile> = BTreeMap::new();
    for file in files {
        by_name.entry(file.path.file_name()).or_insert(file);
    }
    by_name.into_values().collect()
}

/// The lines of a file that are not blank, trimmed. A backslash at the end of one joins the next to
/// it, under the number of the first.
pub(super) fn lines(file: &ConfFile) -> Vec<(SourceLine, String)> {
    let text = String::from_utf8_lossy(file.bytes.as_deref().unwrap_or_default());
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (text, number) in text.lines().zip(1..) {
        let (first, before) = open.take().unwrap_or((number, String::new()));
        match text.strip_suffix('\\') {
            Some(start) => open = Some((first, before + start)),
            None => found.push((first, before + text)),
        }
    }
    found.extend(open);
    let line = |(line, text): (usize, String)| {
        let file = file.path.clone();
        (SourceLine { file, line }, text.trim().to_owned())
    };
    found
        .into_iter()
        .map(line)
        .filter(|(_, text)| !text.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> ConfFile {
        ConfFile {
            path: path.into(),
            bytes: Some(text.into()),
        }
    }

    fn modules_load(text: &str) -> ModuleFiles {
        ModuleFiles {
            modules_load: vec![file("/etc/modules-load.d/a.conf", text)],
            dependents: vec![dependents(
                "kernel/net/netfilter/nf_nat.ko.xz: kernel/net/netfilter/nf_conntrack.ko.xz\n\
                 kernel/net/netfilter/xt_LOG.ko.xz: kernel/net/netfilter/x_tables.ko.xz\n\
                 kernel/net/netfilter/nf_conntrack.ko.xz: kernel/lib/libcrc32c.ko.xz\n",
            )],
            ..ModuleFiles::default()
        }
    }

    fn modprobe(text: &str) -> ModuleFiles {
        ModuleFiles {
            modprobe: vec![file("/etc/modprobe.d/a.conf", text)],
            ..modules_load("nf_conntrack\n")
        }
    }

    #[test]
    fn a_name_an_alias_or_a_module_that_needs_it_loads_conntrack() {
        for (text, line) in [
            ("nf_conntrack\n", Some(1)),
            ("# firewall\n\n  nf-conntrack", Some(3)),
            ("ip_conntrack\n", Some(1)),
            ("loop\nnf_nat\n", Some(2)),
            ("xt_LOG\n", None),
            ("#nf_conntrack\n;nf_conntrack\n", None),
            ("nf_conntrack_ftp_not_here\n", None),
            ("", None),
        ] {
            let early = line.map(|line| {
                Loading::Early(SourceLine {
                    file: "/etc/modules-load.d/a.conf".into(),
                    line,
                })
            });
            let loading = modules_load(text).loading();
            assert_eq!(loading, early.unwrap_or(Loading::Nothing), "{text:?}");
        }
    }

    #[test]
    fn a_dependent_counts_only_if_it_is_one_on_every_kernel() {
        let mut files = modules_load("nf_nat\n");
        files.dependents.push(BTreeSet::new());
        assert_eq!(files.loading(), Loading::Nothing);
        files.dependents.clear();
        assert_eq!(files.loading(), Loading::Nothing);
    }

    #[test]
    fn the_stronger_folder_hides_a_name() {
        let mut files = modules_load("");
        let vendor = file("/usr/lib/modules-load.d/a.conf", "nf_conntrack\n");
        files.modules_load.push(vendor);
        assert_eq!(files.loading(), Loading::Nothing);
        files.modules_load.remove(0);
        assert!(matches!(files.loading(), Loading::Early(_)));
    }

    #[test]
    fn a_deny_list_and_an_unreadable_file_are_known() {
        let denied = modprobe("blacklist nf_nat\nblacklist nf-conntrack\n");
        let Loading::Denied(line) = denied.loading() else {
            panic!("{:?}", denied.loading());
        };
        assert_eq!(line.to_string(), "/etc/modprobe.d/a.conf:2");
        let mut unread = modules_load("");
        unread.modules_load[0].bytes = None;
        let path = unread.modules_load[0].path.clone();
        assert_eq!(unread.loading(), Loading::Unknown(path));
    }

    #[test]
    fn an_alias_has_options_of_its_own_and_leads_where_modprobe_d_says() {
        let read = |load: &str, probe: &str| {
            let mut files = modprobe(probe);
            files.modules_load[0].bytes = Some(load.into());
            let is_early = matches!(files.loading(), Loading::Early(_));
            (is_early, files.hash_size().map(|size| size.asked))
        };
        let size = "options ip_conntrack hashsize=512\n";
        assert_eq!(read("nf_conntrack", size), (true, None));
        assert_eq!(read("ip_conntrack", size), (true, Some(512)));
        assert_eq!(read("", size), (false, None));
        for (load, probe, is_early) in [
            ("nf_conntrack", "blacklist ip_conntrack", true),
            ("ip_conntrack", "blacklist nf_conntrack", false),
            ("nf_nat", "blacklist nf_conntrack", true),
            ("nf_conntrack", "alias nf_conntrack off", false),
            ("nf_nat", "alias nf_conntrack off", true),
            ("firewall", "alias firewall nf-nat", true),
            ("firewall", "alias firewall veth", false),
            ("ip_conntrack", "install ip_conntrack /bin/true", false),
            ("nf_conntrack", "install ip_conntrack /bin/true", true),
            (
                "nf_nat",
                "alias nf_conntrack off\ninstall nf_conntrack modprobe -i nf_conntrack",
                false,
            ),
        ] {
            assert_eq!(read(load, probe).0, is_early, "{load}: {probe}");
        }
    }

    #[test]
    fn the_last_hash_size_counts_and_makes_max_eightfold() {
        for (text, expected) in [
            (
                "options nf_conntrack hashsize=16384\n",
                Some((1, 16384, 131_072)),
            ),
            (
                "options nf-conntrack acct=1 hashsize=0x4001",
                Some((1, 16896, 135_168)),
            ),
            (
                "options nf_conntrack \\\n  hashsize=512\n",
                Some((1, 512, 4096)),
            ),
            (
                "options nf_conntrack hashsize=512\noptions nf_conntrack hashsize=1024",
                Some((2, 1024, 8192)),
            ),
            ("options nf_conntrack expect_hashsize=512\n", None),
            ("options nf_nat hashsize=512\n", None),
            ("#options nf_conntrack hashsize=512\n", None),
            ("options nf_conntrack hashsize=many\n", None),
        ] {
            let size = modprobe(text).hash_size();
            let found = size.map(|size| (size.line.line, size.buckets(), size.max()));
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn an_install_line_is_understood_or_called_unknown() {
        let at = |line| SourceLine {
            file: "/etc/modprobe.d/a.conf".into(),
            line,
        };
        let early = modules_load("nf_conntrack\n").loading();
        for (text, expected) in [
            ("install nf_conntrack /bin/true\n", Loading::Never(at(1))),
            (
                "# x\ninstall nf-conntrack /usr/bin/false",
                Loading::Never(at(2)),
            ),
            ("install nf_conntrack* /bin/true", Loading::Never(at(1))),
            ("install nf_conntrack :", Loading::Never(at(1))),
            (
                "install nf_conntrack /sbin/modprobe --ignore-install nf_conntrack && /sbin/sysctl -p",
                early.clone(),
            ),
            ("install nf_conntrack /opt/load", Loading::Installed(at(1))),
            ("install nf_conntrack_ftp /bin/true", early.clone()),
            ("#install nf_conntrack /bin/true", early.clone()),
            ("blacklist nf_nat", early),
            ("blacklist nf_conntrack", Loading::Denied(at(1))),
        ] {
            assert_eq!(modprobe(text).loading(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_softdep_about_conntrack_is_called_unclear_where_it_may_matter() {
        let at = |line| SourceLine {
            file: "/etc/modprobe.d/a.conf".into(),
            line,
        };
        let never = "install nf_conntrack /bin/true\n";
        for (named, softdep, expected) in [
            (
                "veth\n",
                "softdep veth pre: nf_conntrack\n",
                Loading::Soft(at(1)),
            ),
            (
                "veth\n",
                "# x\nsoftdep veth pre: a post: nf-nat\n",
                Loading::Soft(at(2)),
            ),
            ("veth\n", "softdep veth pre: xt_LOG\n", Loading::Nothing),
            (
                "veth\n",
                "softdep nf_conntrack post: veth\n",
                Loading::Nothing,
            ),
        ] {
            let mut files = modules_load(named);
            files.modprobe = vec![file("/etc/modprobe.d/a.conf", softdep)];
            assert_eq!(files.loading(), expected, "{named}{softdep}");
        }
        let early = modprobe("").loading();
        assert_eq!(
            modprobe("softdep nf_conntrack pre: veth\n").loading(),
            early
        );
        let both = format!("{never}softdep nf-conntrack pre: veth\n");
        assert_eq!(modprobe(&both).loading(), Loading::Soft(at(2)));
        let other = format!("{never}softdep veth pre: nf_conntrack\n");
        assert_eq!(modprobe(&other).loading(), Loading::Never(at(1)));
    }

    #[test]
    fn the_command_line_loads_denies_and_sizes() {
        let with = |text: &str| {
            let from = SourceLine {
                file: "/proc/cmdline".into(),
                line: 1,
            };
            ModuleFiles {
                command_line: CommandLine::new(text, from),
                ..modprobe("options nf_conntrack hashsize=512\n")
            }
        };
        assert!(matches!(with("quiet").loading(), Loading::Early(_)));
        assert!(matches!(
            with("module_blacklist=nf_conntrack").loading(),
            Loading::Never(_)
        ));
        assert!(matches!(
            with("modprobe.blacklist=a,nf-conntrack").loading(),
            Loading::Denied(_)
        ));
        let mut loaded = with("modules_load=nf_conntrack");
        loaded.modules_load.clear();
        assert!(matches!(loaded.loading(), Loading::Early(_)));
        let size = |files: ModuleFiles| files.hash_size().map(|size| size.asked);
        assert_eq!(size(with("nf_conntrack.hashsize=1024")), Some(1024));
        assert_eq!(size(with("nf_conntrack.hashsize=x")), Some(512));
    }
}
