//! Launcher for this crate's tests, and a program that is run in the VMM's place.
fn main() {
    pyro_engine::launch::intercept();
}
