//! What `looptrans bench` times is the network itself.

use looptrans_ros::{
    contract::Size,
    export::{
        layout::Network,
        seeded::{self as by_rule, Architecture},
    },
    train::{
        TrainError,
        eager::{Eager, EagerSettings},
        looptrans::LoopTrans,
    },
};
use tch::{Device, Kind, Tensor};

use crate::support::seeded;

#[test]
fn the_network_that_is_timed_gives_theta_pixel_s_maps() {
    let architecture = Architecture::named("toy").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    by_rule::write(&path, architecture, &["cut", "hold"]).unwrap();
    let sizes = architecture.sizes(2);
    let settings = |side| EagerSettings {
        network: Network::LoopTrans,
        sizes,
        input: Size { height: side, width: 56 },
        pictures: 2,
        threads: 1,
    };
    let maps = Eager::load(&path, &settings(64)).unwrap().run().unwrap();
    assert_eq!(maps.size(), [2, 17, 8, 7]);
    let (_, model) = seeded(|root| LoopTrans::new(root, &sizes));
    let images = Tensor::zeros([2, 3, 64, 56], (Kind::Float, Device::Cpu));
    assert_eq!(tch::no_grad(|| model.class_maps(&images)).unwrap(), maps);

    let error = Eager::load(&path, &settings(60)).unwrap().run().unwrap_err();
    assert!(matches!(error, TrainError::Input { .. }), "{error}");
}
