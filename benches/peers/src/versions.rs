//! Reads the versions of the peers from the lock file.

const LOCK: &str = include_str!("../Cargo.lock");

/// Returns the version of a package. Of several versions, the newest comes last in the file, and the peers use it.
pub fn of(package: &str) -> &'static str {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines();
    let mut version = None;
    while lines.any(|line| line == name) {
        version = lines.next();
    }
    version
        .and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .unwrap_or_else(|| panic!("{package} is not in the lock file"))
}
