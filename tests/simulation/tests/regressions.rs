//! Scripts of runs that once failed, made small: none of them fails any more.

use std::fs;
use std::path::PathBuf;

use simulation::Script;

#[test]
fn what_once_failed_does_not_fail_again() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut scripts: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    scripts.sort();
    assert!(!scripts.is_empty());
    for path in scripts {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let script = Script::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(script.play(false).violation, None, "{name}");
    }
}
