//! Sets the cfgs for this package only, so that neither the environment's RUSTFLAGS nor another
//! package decides whether the models are models.

fn main() {
    println!("cargo::rustc-cfg=loom");
    println!("cargo::rustc-cfg=taskgroup_models");
    println!("cargo::rerun-if-changed=build.rs");
}
