//! ONNX Runtime, the real one.

use std::sync::OnceLock;

use ndarray::{ArrayD, ArrayViewD};
use ort::{
    environment::Environment,
    session::Session,
    value::{PrimitiveTensorElementType, TensorRef},
};

/// The process's one environment.
pub fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        assert!(
            std::env::var_os("ORT_DYLIB_PATH").is_some(),
            "this test needs ONNX Runtime: set ORT_DYLIB_PATH to its library (source scripts/env.sh does)"
        );
        ort::init().build().unwrap()
    })
}

/// A session on real ONNX Runtime, CPU.
pub fn session(onnx: &[u8]) -> Session {
    Session::builder(environment()).unwrap().with_intra_threads(2).unwrap().commit_from_memory(onnx).unwrap()
}

/// Runs `session` on the input `image`; gives the named f32 outputs.
pub fn run<T>(session: &mut Session, image: ArrayViewD<'_, T>, outputs: &[&str]) -> Vec<ArrayD<f32>>
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
{
    let image = TensorRef::from_array_view(image).unwrap();
    let results = session.run(ort::inputs!["image" => image]).unwrap();
    outputs.iter().map(|&name| results[name].try_extract_array::<f32>().unwrap().to_owned()).collect()
}
