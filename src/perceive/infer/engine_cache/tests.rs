//! The rules of the cache with files that stand for engines: no TensorRT is needed to keep, lock and find them.

use std::{
    process::{Command, Stdio},
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use super::*;

fn failed() -> InferError {
    InferError::Runtime { step: "load", kind: FailureKind::Other, cause: "test".to_owned() }
}

fn place(cache: &Path) -> Place {
    let bundle = PathBuf::from("/nonexistent/bundle");
    Place { root: cache.join("tensorrt"), key: "k".to_owned(), bundle, lock_wait: Duration::from_secs(60) }
}

/// All but the lock.
fn names(folder: &Path) -> Vec<String> {
    let names = entries(folder).into_iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
    names.filter(|name| !name.ends_with(".lock")).collect()
}

/// Builds "engine" in a folder without one; counts it.
fn load<'a>(built: &'a AtomicUsize) -> impl FnMut(Option<&Path>) -> Result<PathBuf, InferError> + 'a {
    |folder| {
        let folder = folder.unwrap();
        let engine = folder.join("engine");
        if !engine.exists() {
            built.fetch_add(1, Ordering::Relaxed);
            fs::write(engine, "whole").unwrap();
            fs::write(folder.join("a.timing"), "times").unwrap();
        }
        Ok(folder.to_owned())
    }
}

#[test]
fn engines_are_kept_once_they_worked_and_used_again() {
    let (root, built) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
    let place = place(root.path());
    assert!(!place.has_engines());
    let none = place.with_engines(Engines::Kept, load(&built)).unwrap_err().to_string();
    assert!(none.contains("expected engines that were built before, found none in "), "{none}");

    let first = place.with_engines(Engines::Build, load(&built)).unwrap();
    assert_ne!(first, place.kept(), "engines are built aside");
    assert_eq!(fs::read(place.kept().join("engine")).unwrap(), b"whole");
    assert!(place.has_engines());
    fs::write(place.kept().join("a.timing"), "other times").unwrap();
    for engines in [Engines::Build, Engines::Kept] {
        assert_eq!(place.with_engines(engines, load(&built)).unwrap(), place.kept());
    }
    assert_eq!((built.into_inner(), names(&place.root)), (1, vec!["k".to_owned()]));
}

#[test]
fn a_failed_load_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let load = |folder: Option<&Path>| -> Result<(), InferError> {
        fs::write(folder.unwrap().join("half an engine"), "").unwrap();
        Err(failed())
    };
    assert!(place(root.path()).with_engines(Engines::Build, load).is_err());
    assert!(names(&place(root.path()).root).is_empty());
}

#[test]
fn kept_engines_stay_where_the_hardware_failed_and_its_error_is_told() {
    let (root, built) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
    let place = place(root.path());
    place.with_engines(Engines::Build, load(&built)).unwrap();
    let memory = FailureKind::OutOfMemory { asked_bytes: Some(7), available_bytes: None };
    for (engines, kind) in
        [(Engines::Kept, memory), (Engines::Build, memory), (Engines::Build, FailureKind::DeviceLost)]
    {
        let mut loads = 0;
        let failing = |_: Option<&Path>| -> Result<(), InferError> {
            loads += 1;
            Err(InferError::Runtime { step: "load", kind, cause: "test".to_owned() })
        };
        let error = place.with_engines(engines, failing).unwrap_err();
        assert_eq!((error.kind(), loads), (kind, 1), "{engines:?}: {error}");
        assert!(place.has_engines() && names(&place.root) == ["k"], "{engines:?}");
    }
}

#[test]
fn engines_that_do_not_work_are_built_anew() {
    let (root, built) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
    let place = place(root.path());
    place.with_engines(Engines::Build, load(&built)).unwrap();
    let mut refusing = |folder: Option<&Path>| {
        let engine = folder.unwrap().join("engine");
        if engine.exists() { Err(failed()) } else { fs::write(engine, "newer").map_err(|_| failed()) }
    };
    let error = place.with_engines(Engines::Kept, &mut refusing).unwrap_err().to_string();
    assert!(error.contains("are of no use: ONNX Runtime: load: test"), "{error}");
    place.with_engines(Engines::Build, &mut refusing).unwrap();
    assert_eq!(fs::read(place.kept().join("engine")).unwrap(), b"newer");
    assert_eq!(names(&place.root), ["k"]);
}

#[test]
fn damaged_engines_are_never_given_to_tensorrt() {
    let damages: [fn(&Path); 5] = [
        |kept| fs::write(kept.join("engine"), "whola").unwrap(),
        |kept| fs::write(kept.join("engine"), "who").unwrap(),
        |kept| fs::remove_file(kept.join("engine")).unwrap(),
        |kept| fs::write(kept.join("another engine"), "").unwrap(),
        |kept| fs::remove_file(kept.join("seal")).unwrap(),
    ];
    for (index, damage) in damages.into_iter().enumerate() {
        let (root, built) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
        let place = place(root.path());
        place.with_engines(Engines::Build, load(&built)).unwrap();
        damage(&place.kept());
        assert_eq!(place.has_engines(), index == 0, "{index}: sizes alone do not tell a changed byte");
        let untouched = |_: Option<&Path>| -> Result<(), InferError> { panic!("{index}: loaded") };
        place.with_engines(Engines::Kept, untouched).unwrap_err();
        place.with_engines(Engines::Build, load(&built)).unwrap();
        assert_eq!(
            (built.into_inner(), names(&place.kept())),
            (2, ["a.timing", "engine", "seal"].map(str::to_owned).to_vec())
        );
    }
}

#[test]
fn folders_in_a_bundle_or_open_to_others_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let load = |_: Option<&Path>| -> Result<(), InferError> { panic!("must not be loaded") };
    let inside = Place { bundle: root.path().to_owned(), ..place(&root.path().join("cache")) };
    let inside = inside.with_engines(Engines::Build, load).unwrap_err().to_string();
    assert!(inside.starts_with("cache_dir: expected a folder outside the bundle, found "), "{inside}");

    let place = place(root.path());
    fs::create_dir_all(place.kept()).unwrap();
    fs::set_permissions(&place.root, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(place.kept(), fs::Permissions::from_mode(0o777)).unwrap();
    let open = place.with_engines(Engines::Build, load).unwrap_err().to_string();
    assert!(open.contains("no other can write to") && open.contains("mode 777"), "{open}");

    fs::remove_dir(place.kept()).unwrap();
    std::os::unix::fs::symlink("/tmp", place.kept()).unwrap();
    assert!(place.with_engines(Engines::Build, load).is_err(), "a link could lead anywhere");
    assert!(!place.has_engines());
}

#[test]
fn where_nothing_can_be_written_tensorrt_runs_without_a_cache() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let folder = |folder: Option<&Path>| Ok(folder.map(Path::to_owned));
    assert_eq!(place(&file).with_engines(Engines::Build, folder).unwrap(), None);
    let error = place(&file).with_engines(Engines::Kept, folder).unwrap_err().to_string();
    assert!(error.contains("built before, found ") && error.contains("file/tensorrt"), "{error}");

    // The seal is what a full disk has no room for; here another thing has its name.
    let no_room = |folder: Option<&Path>| fs::create_dir(folder.unwrap().join("seal")).map_err(|_| failed());
    place(root.path()).with_engines(Engines::Build, no_room).unwrap();
    assert!(names(&place(root.path()).root).is_empty(), "what could not be sealed is not kept");
}

#[test]
fn of_two_that_build_at_once_the_second_takes_the_first_one_s_engines() {
    let (root, built, start) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0), Barrier::new(4));
    let at_work = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                let slowly = |folder: Option<&Path>| {
                    assert_eq!(at_work.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                    thread::sleep(Duration::from_millis(20));
                    let loaded = load(&built)(folder);
                    at_work.fetch_sub(1, Ordering::SeqCst);
                    loaded
                };
                place(root.path()).with_engines(Engines::Build, slowly).unwrap();
            });
        }
    });
    assert_eq!(built.into_inner(), 1);
}

#[test]
fn who_waits_too_long_for_another_runs_without_a_cache() {
    let root = tempfile::tempdir().unwrap();
    let impatient = Place { lock_wait: Duration::ZERO, ..place(root.path()) };
    let inner = |_: Option<&Path>| impatient.with_engines(Engines::Build, |folder| Ok(folder.map(Path::to_owned)));
    assert_eq!(place(root.path()).with_engines(Engines::Build, inner).unwrap(), None);
}

const KILLED_IN: &str = "LOOPTRANS_TEST_KILLED_IN";

/// A process of its own is killed in the middle of a build: this same test, which finds the folder in its environment.
#[test]
fn a_killed_build_leaves_no_lock_and_no_engine_and_is_cleaned_up() {
    if let Some(root) = std::env::var_os(KILLED_IN) {
        let forever = |folder: Option<&Path>| -> Result<(), InferError> {
            fs::write(folder.unwrap().join("half an engine"), "").unwrap();
            loop {
                thread::park();
            }
        };
        return place(Path::new(&root)).with_engines(Engines::Build, forever).unwrap();
    }
    let (root, built) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
    let place = place(root.path());
    let name = "perceive::infer::engine_cache::tests::a_killed_build_leaves_no_lock_and_no_engine_and_is_cleaned_up";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact"])
        .env(KILLED_IN, root.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let half = || entries(&place.root).iter().any(|path| path.join("half an engine").exists());
    let until = Instant::now() + Duration::from_secs(60);
    while !half() {
        assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "the other process never built");
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(half() && !place.has_engines());
    place.with_engines(Engines::Build, load(&built)).unwrap();
    assert_eq!((built.into_inner(), names(&place.root)), (1, vec!["k".to_owned()]));
}

#[test]
fn the_key_changes_with_everything_an_engine_depends_on() {
    let option = |value: &str| vec![("trt_fp16_enable", value.to_owned())];
    let version = |text: &str| vec![text.to_owned()];
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let first = key(&a, &option("0"), &version("1.32"));
    assert_eq!(first, key(&a, &option("0"), &version("1.32")));
    assert!(first.starts_with(&"a".repeat(16)) && first.len() == 33, "{first}");
    let others = [
        key(&b, &option("0"), &version("1.32")),
        key(&a, &option("1"), &version("1.32")),
        key(&a, &option("0"), &version("1.33")),
    ];
    assert!(others.iter().all(|other| *other != first), "{first} {others:?}");
}

#[test]
fn a_gpu_is_known_by_its_model_and_not_by_its_interrupt() {
    let information =
        "Model: \t\t NVIDIA GeForce RTX 3090\nIRQ:   \t\t 142\nGPU UUID: \t GPU-1\nBus Location: \t 0000:01:00.0\n";
    assert_eq!(gpu_model(information).as_deref(), Some("Model: NVIDIA GeForce RTX 3090"));
    assert_eq!(gpu_model("IRQ: 1"), None);
}

#[test]
fn the_cache_is_where_the_setting_or_xdg_says() {
    let none = |_: &str| None;
    let env = |name: &str| Some(PathBuf::from(if name == "HOME" { "/home/u" } else { "/xdg" }));
    let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/u"));
    let relative = |name: &str| Some(PathBuf::from(if name == "HOME" { "/home/u" } else { "xdg" }));
    assert_eq!(root(Some(Path::new("/own")), none).unwrap(), Path::new("/own"));
    assert_eq!(root(None, env).unwrap(), Path::new("/xdg/looptrans_ros"));
    assert_eq!(root(None, home).unwrap(), Path::new("/home/u/.cache/looptrans_ros"));
    assert_eq!(root(None, relative).unwrap(), Path::new("/home/u/.cache/looptrans_ros"), "as XDG asks");
    assert!(root(None, none).is_err());
}
