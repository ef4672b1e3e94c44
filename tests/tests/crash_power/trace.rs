//! What a process has done to the disk, as `strace` has seen it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The system calls that change a disk, or bring it to stable storage.
pub(crate) const CALLS: &str = "openat,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,fsync,fdatasync,sync_file_range,ftruncate,\
                                truncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,\
                                symlinkat,copy_file_range,sendfile";

/// Something that a process has done, under absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Did {
    /// Created a file, or emptied one.
    Create { path: PathBuf, truncate: bool },
    /// Wrote into a file.
    Write { path: PathBuf, offset: u64, bytes: Vec<u8> },
    /// Made a file that long.
    SetLen { path: PathBuf, len: u64, only_longer: bool },
    /// Replaced one name by another one.
    Rename { from: PathBuf, to: PathBuf },
    /// Gave a file another name besides.
    Link { from: PathBuf, to: PathBuf },
    /// Made a folder.
    MakeDir { path: PathBuf },
    /// Took a name away.
    Remove { path: PathBuf },
    /// Brought a file or a folder to stable storage, with everything that was done before the step `began`.
    Flush { path: PathBuf, began: usize },
    /// Wrote this to its standard output.
    Said(String),
}

/// Reads a trace of `strace -f -y -xx`. Only what is below `root` counts.
///
/// # Panics
/// At a call that it cannot take apart: what is left out would make a disk that never was.
pub(crate) fn read(trace: &str, root: &Path) -> Vec<Did> {
    let (mut did, mut offsets) = (Vec::new(), HashMap::new());
    let mut begun: HashMap<&str, (String, usize)> = HashMap::new();
    for line in trace.lines() {
        let (process, rest) = line.split_once(' ').expect("a process id");
        let rest = rest.trim_start();
        if let Some(call) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(process, (call.trim_end().to_owned(), did.len()));
            continue;
        }
        let (call, began) = match rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            Some((_, end)) => {
                let (begin, began) = begun.remove(process).expect("it was begun");
                (format!("{begin}{end}"), began)
            }
            None => (rest.to_owned(), did.len()),
        };
        did.extend(Call::read(&call).and_then(|call| call.did(began, root, &mut offsets)));
    }
    did
}

/// A call that has succeeded.
struct Call {
    name: String,
    arguments: Vec<String>,
    /// What it returned.
    result: String,
}

/// Where each open file is written next, by descriptor.
type Offsets = HashMap<String, u64>;

impl Call {
    fn read(text: &str) -> Option<Self> {
        let (call, result) = text.rsplit_once(" = ")?;
        if result.starts_with('-') || result.starts_with('?') {
            return None;
        }
        let (name, rest) = call.split_once('(')?;
        let arguments = rest.trim_end().strip_suffix(')')?;
        // Texts are hexadecimal, so no comma is in them.
        let arguments = arguments.split(", ").map(str::to_owned).collect();
        Some(Self { name: name.to_owned(), arguments, result: result.trim().to_owned() })
    }

    fn did(&self, began: usize, root: &Path, offsets: &mut Offsets) -> Option<Did> {
        let path = |at: usize| self.path(at);
        let is_ours = |path: &PathBuf| path.starts_with(root);
        let (name, ours) = (&*self.name, path(0).filter(is_ours));
        match name {
            "openat" => {
                offsets.insert(descriptor(&self.result)?.to_owned(), 0);
                let path = path(1).filter(is_ours)?;
                let has = |flag: &str| self.arguments[2].split('|').any(|held| held == flag);
                assert!(!has("O_APPEND"), "{path:?} is appended to");
                let (truncate, create) = (has("O_TRUNC"), has("O_CREAT"));
                (truncate || create).then_some(Did::Create { path, truncate })
            }
            "write" if descriptor(&self.arguments[0])? == "1" => {
                Some(Did::Said(String::from_utf8_lossy(&bytes(&self.arguments[1])).into_owned()))
            }
            "write" => {
                let offset = offsets.entry(descriptor(&self.arguments[0])?.to_owned()).or_insert(0);
                let at = *offset;
                *offset += self.number();
                Some(Did::Write { path: ours?, offset: at, bytes: self.written() })
            }
            "pwrite64" => {
                let offset = self.arguments[3].parse().expect("an offset");
                Some(Did::Write { path: ours?, offset, bytes: self.written() })
            }
            "lseek" => {
                offsets.insert(descriptor(&self.arguments[0])?.to_owned(), self.number());
                None
            }
            "fsync" | "fdatasync" => Some(Did::Flush { path: ours?, began }),
            "ftruncate" => {
                let len = self.arguments[1].parse().expect("a length");
                Some(Did::SetLen { path: ours?, len, only_longer: false })
            }
            "fallocate" => {
                let number = |at: usize| self.arguments[at].parse::<u64>().expect("a number");
                Some(Did::SetLen { path: ours?, len: number(2) + number(3), only_longer: true })
            }
            "rename" => Some(Did::Rename { from: ours?, to: path(1)? }),
            "renameat" | "renameat2" => Some(Did::Rename { from: path(1).filter(is_ours)?, to: path(3)? }),
            "link" => Some(Did::Link { from: ours?, to: path(1)? }),
            "linkat" => Some(Did::Link { from: path(1).filter(is_ours)?, to: path(3)? }),
            "mkdir" => Some(Did::MakeDir { path: ours? }),
            "mkdirat" => Some(Did::MakeDir { path: path(1).filter(is_ours)? }),
            "unlink" | "rmdir" => Some(Did::Remove { path: ours? }),
            "unlinkat" => {
                let path = path(1)?;
                let path = if path.is_absolute() { path } else { self.path(0)?.join(path) };
                Some(Did::Remove { path })
                    .filter(|_| self.path(0).is_none_or(|dir| dir.starts_with(root) || dir.is_absolute()))
            }
            // What is written so does not stand in the trace. Only files that nobody relies on after a start
            // are.
            "copy_file_range" | "sendfile" | "symlink" | "symlinkat" => None,
            _ => panic!("{name} is not understood"),
        }
    }

    /// A path among the arguments, or that of a descriptor there.
    fn path(&self, at: usize) -> Option<PathBuf> {
        let argument = self.arguments.get(at)?;
        let text = match argument.split_once('<') {
            Some((_, path)) => path.strip_suffix('>')?,
            None => argument.strip_prefix('"')?.strip_suffix('"')?,
        };
        let text = String::from_utf8(unescaped(text)).ok()?;
        Some(PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(&text)))
    }

    fn number(&self) -> u64 {
        self.result.split('<').next().and_then(|text| text.parse().ok()).expect("a number is returned")
    }

    /// What was written of what was to be.
    fn written(&self) -> Vec<u8> {
        let mut bytes = bytes(&self.arguments[1]);
        let written = usize::try_from(self.number()).expect("a length");
        assert!(written <= bytes.len(), "the trace has all bytes");
        bytes.truncate(written);
        bytes
    }
}

/// The number of a descriptor.
fn descriptor(text: &str) -> Option<&str> {
    text.split_once('<').map(|(number, _)| number)
}

fn bytes(argument: &str) -> Vec<u8> {
    let text = argument.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    unescaped(text.expect("a whole text: the trace cuts none off"))
}

/// `\x68\x69` as its bytes.
fn unescaped(text: &str) -> Vec<u8> {
    let parts = text.split("\\x").skip(1);
    parts.map(|digits| u8::from_str_radix(digits, 16).expect("two digits")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Did, read};

    fn hex(text: &str) -> String {
        text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    #[test]
    fn a_trace_is_what_was_done() {
        let (file, other) = (hex("/d/a"), hex("/d/b"));
        let trace = format!(
            "7 openat(AT_FDCWD<{cwd}>, \"{file}\", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0666) = 3<{file}>\n\
             7 write(3<{file}>, \"{ab}\", 2) = 2\n\
             8 fsync(3<{file}> <unfinished ...>\n\
             7 write(3<{file}>, \"{ab}\", 2) = 1\n\
             8 <... fsync resumed>) = 0\n\
             7 rename(\"{file}\", \"{other}\") = 0\n\
             7 write(1<{cwd}>, \"{said}\", 9) = 9\n\
             7 unlink(\"{file}\") = -1 ENOENT (No such file or directory)\n\
             7 +++ exited with 0 +++\n",
            cwd = hex("/"),
            ab = hex("ab"),
            said = hex("stored 1\n"),
        );
        let path = |name: &str| Path::new("/d").join(name);
        let expected = [
            Did::Create { path: path("a"), truncate: true },
            Did::Write { path: path("a"), offset: 0, bytes: b"ab".to_vec() },
            Did::Write { path: path("a"), offset: 2, bytes: b"a".to_vec() },
            Did::Flush { path: path("a"), began: 2 },
            Did::Rename { from: path("a"), to: path("b") },
            Did::Said("stored 1\n".to_owned()),
        ];
        assert_eq!(read(&trace, Path::new("/d")), expected);
    }
}
