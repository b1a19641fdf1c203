//! Prints `config/affordance_node.yaml` from the table of parameters: `cargo run --example print_config`.
fn main() {
    print!("{}", looptrans_ros::config::config_text());
}
