//! The only folder that names r2r.
