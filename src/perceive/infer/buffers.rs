//! The memory that pictures and answers pass through, bound to a session once.
//!
//! ```text
//! on the CPU:   pixels -> host image (bound)                  -> run -> host answers (bound)
//! on a GPU:     pixels -> host image (pinned) -> device image (bound) -> run -> device answers (bound) -> host answers
//! ```
//!
//! Bound memory stays where it is, so a run allocates nothing for its ends, and a recorded CUDA graph finds it again.

use ort::{
    memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType},
    session::{IoBinding, Session},
    value::Tensor,
};

use super::{InferSettings, ProviderChoice};
use crate::contract::{INPUT_IMAGE, ModelContract, OUTPUT_HEATMAP, OUTPUT_PRESENCE};

/// One memory's three tensors.
#[derive(Debug)]
struct Ends {
    /// u8 [B, H, W, 3]
    image: Tensor<u8>,
    /// f32 [B, A, h, w]
    maps: Tensor<f32>,
    /// f32 [B, A]
    presence: Tensor<f32>,
}

/// The ends of a session, bound.
#[derive(Debug)]
pub(super) struct Buffers {
    binding: IoBinding,
    host: Ends,
    /// Where the session computes, if not in the host's memory.
    device: Option<Ends>,
}

impl Buffers {
    pub fn new(
        session: &Session,
        contract: &ModelContract,
        pictures: usize,
        (choice, settings): (ProviderChoice, &InferSettings),
    ) -> ort::Result<Self> {
        let on_gpu = matches!(choice, ProviderChoice::Cuda | ProviderChoice::TensorRt);
        let device_id = i32::try_from(settings.device_id).unwrap_or(i32::MAX);
        let allocator = |device, memory_type| {
            Allocator::new(session, MemoryInfo::new(device, device_id, AllocatorType::Device, memory_type)?)
        };
        let (host, device) = if on_gpu {
            // Pinned memory is what a GPU reads and writes without a copy in between.
            let pinned = allocator(AllocationDevice::CUDA_PINNED, MemoryType::CPU)?;
            (pinned, Some(allocator(AllocationDevice::CUDA, MemoryType::Default)?))
        } else {
            (Allocator::default(), settings.device_buffers.then(Allocator::default))
        };
        let mut host = Ends::new(&host, contract, pictures)?;
        let mut device = device.map(|device| Ends::new(&device, contract, pictures)).transpose()?;
        let mut binding = session.create_binding()?;
        device.as_mut().unwrap_or(&mut host).bind(&mut binding)?;
        Ok(Self { binding, host, device })
    }

    /// Runs on `pixels`, u8 [B, H, W, 3], which the caller has measured. Gives maps f32 [B, A, h, w] and presence
    /// f32 [B, A].
    pub fn run(&mut self, session: &mut Session, pixels: &[u8]) -> ort::Result<(&[f32], &[f32])> {
        self.host.image.try_extract_tensor_mut::<u8>()?.1.copy_from_slice(pixels);
        if let Some(device) = &mut self.device {
            self.host.image.copy_into(&mut device.image)?;
        }
        // What comes back are other names for the bound answers.
        drop(session.run_binding(&self.binding)?);
        if let Some(device) = &self.device {
            device.maps.copy_into(&mut self.host.maps)?;
            device.presence.copy_into(&mut self.host.presence)?;
        }
        let (_, maps) = self.host.maps.try_extract_tensor::<f32>()?;
        let (_, presence) = self.host.presence.try_extract_tensor::<f32>()?;
        Ok((maps, presence))
    }
}

impl Ends {
    fn new(allocator: &Allocator, contract: &ModelContract, pictures: usize) -> ort::Result<Self> {
        let ModelContract { input, heatmap, actions, .. } = contract;
        let sides = |size: &crate::contract::Size| [size.height as usize, size.width as usize];
        let ([height, width], [rows, columns], actions) = (sides(input), sides(heatmap), actions.len());
        Ok(Self {
            image: Tensor::new(allocator, [pictures, height, width, 3])?,
            maps: Tensor::new(allocator, [pictures, actions, rows, columns])?,
            presence: Tensor::new(allocator, [pictures, actions])?,
        })
    }

    fn bind(&mut self, binding: &mut IoBinding) -> ort::Result<()> {
        binding.bind_input(INPUT_IMAGE, &self.image)?;
        binding.bind_output(OUTPUT_HEATMAP, &mut self.maps)?;
        binding.bind_output(OUTPUT_PRESENCE, &mut self.presence)
    }
}
