//! The models on libtorch. The only folder that names tch.
