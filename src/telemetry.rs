//! No word to ONNX Runtime's makers: from 1.29 on its official Linux builds keep a database in the user's cache folder, of what
//! they ran, for a collector on the network (ONNX Runtime #27379), unless this variable is set when the library's environment
//! is made. `with_telemetry(false)` comes too late: the database is open by then.

/// Read by ONNX Runtime; `1` refuses.
pub const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// Refuses for this process and what it starts. At the start of the process, before there are threads.
#[expect(unsafe_code, reason = "the environment is the only way, and setting it is sound only with one thread")]
pub fn refuse() {
    // SAFETY: there is one thread, so nobody reads the environment meanwhile.
    unsafe {
        std::env::set_var(VARIABLE, "1");
    }
}
