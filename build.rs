//! With feature `train`: has the programs load all of libtorch.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is_on_linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    if is_on_linux && std::env::var_os("CARGO_FEATURE_TRAIN").is_some() {
        // No symbol of libtorch_cuda is used, so the linker would leave it out, and libtorch would know of no GPU. What tch's
        // own build script says to the linker does not reach the programs of a crate that depends on it.
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
        println!("cargo:rustc-link-arg=-ltorch");
    }
}
