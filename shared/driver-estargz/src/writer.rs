//! The driver: one pass through most layers; a survey and one or two passes more where paths repeat or files come first.

use std::convert::Infallible;
use std::ops::ControlFlow;

use accel_domain::EstargzOptions;
use accel_driver::{Codec, Converted, Driver, DriverError, Finished, Output, Pool, Sink, Source, Written, write_layer};
use accel_image::{Annotations, Digest, Hasher, media_type};
use accel_stream::{LayerSums, Limits};

use crate::back::{Back, Record};
use crate::entries::Entries;
use crate::front::{Chunking, Front, proof_of};
use crate::layout::{TOC_DIGEST, UNCOMPRESSED_SIZE};
use crate::plan::{Plan, Seen, Survey};

/// The eStargz driver.
#[derive(Debug, Clone)]
pub struct Estargz {
    options: EstargzOptions,
    limits: Limits,
}

impl Driver for Estargz {
    fn convert(&self, pool: &Pool, source: &mut dyn Source, output: &mut dyn Output) -> Result<Converted, DriverError> {
        let (entries, survey) = match self.stream(pool, source, output)? {
            ControlFlow::Continue(written) => return Ok(converted(written)),
            ControlFlow::Break(seen) => seen,
        };
        output.restart().map_err(DriverError::Output)?;
        let plan = self.survey_rest(entries, survey)?;
        self.planned(pool, source, output, &plan).map(converted)
    }
}

impl Estargz {
    /// The driver for `options`, which were checked, with these limits for its sources.
    #[must_use]
    pub const fn new(options: EstargzOptions, limits: Limits) -> Self {
        Self { options, limits }
    }

    /// Writes the layer as it stands. Breaks off at the first entry that needs a plan.
    fn stream(
        &self,
        pool: &Pool,
        source: &mut dyn Source,
        output: &mut dyn Output,
    ) -> Result<Written<LayerSums, Digest, (Entries, Survey)>, DriverError> {
        let mut entries = Entries::open(source, self.limits)?;
        self.write(pool, output, |sink| {
            let mut front = self.front(sink);
            let mut survey = Survey::default();
            front.landmark(false)?;
            while let Some(ordinal) = entries.step()? {
                if survey.see(ordinal, entries.current(), &self.options.prefetch)? == Seen::NeedsPlan {
                    return Ok(ControlFlow::Break((entries, survey)));
                }
                front.entry(&mut entries, &mut None)?;
            }
            Ok(ControlFlow::Continue(entries.finish()?))
        })
    }

    /// Looks at all entries that are left, and makes the plan.
    fn survey_rest(&self, mut entries: Entries, mut survey: Survey) -> Result<Plan, DriverError> {
        while let Some(ordinal) = entries.step()? {
            survey.see(ordinal, entries.current(), &self.options.prefetch)?;
        }
        entries.finish()?;
        Ok(survey.plan())
    }

    /// Writes the layer by a plan: prioritized entries, landmark, the rest.
    fn planned(
        &self,
        pool: &Pool,
        source: &mut dyn Source,
        output: &mut dyn Output,
        plan: &Plan,
    ) -> Result<(LayerSums, Finished<Digest>), DriverError> {
        let written: Written<LayerSums, Digest, Infallible> = self.write(pool, output, |sink| {
            let mut front = self.front(sink);
            let proofs = match plan.last_prioritized() {
                Some(last) => self.prioritized(source, &mut front, plan, last)?,
                None => Vec::new(),
            };
            front.landmark(!proofs.is_empty())?;
            self.rest(source, &mut front, plan, &proofs).map(ControlFlow::Continue)
        })?;
        match written {
            ControlFlow::Continue(written) => Ok(written),
            ControlFlow::Break(never) => match never {},
        }
    }

    /// Writes the prioritized entries, from a download that ends with the last of them. Returns their digests.
    fn prioritized(
        &self,
        source: &mut dyn Source,
        front: &mut Front<'_>,
        plan: &Plan,
        last: u32,
    ) -> Result<Vec<Digest>, DriverError> {
        let mut entries = Entries::open(source, self.limits)?;
        let mut proofs = Vec::new();
        while let Some(ordinal) = entries.step()? {
            if plan.prioritizes(ordinal) && !plan.drops(ordinal, entries.current()) {
                let mut proof = Some(Hasher::default());
                front.entry(&mut entries, &mut proof)?;
                proofs.extend(proof.map(Hasher::finish));
            }
            if ordinal == last {
                break;
            }
        }
        Ok(proofs)
    }

    /// Writes what is not prioritized, and compares what is with `proofs`: that download was not read to its end, so
    /// nothing else vouches for its bytes.
    fn rest(
        &self,
        source: &mut dyn Source,
        front: &mut Front<'_>,
        plan: &Plan,
        proofs: &[Digest],
    ) -> Result<LayerSums, DriverError> {
        let mut entries = Entries::open(source, self.limits)?;
        let mut proofs = proofs.iter();
        while let Some(ordinal) = entries.step()? {
            if plan.drops(ordinal, entries.current()) {
                continue;
            }
            if !plan.prioritizes(ordinal) {
                front.entry(&mut entries, &mut None)?;
            } else if Some(&proof_of(&mut entries)?) != proofs.next() {
                return Err(DriverError::Changed);
            }
        }
        entries.finish()
    }

    fn write<T, B>(
        &self,
        pool: &Pool,
        output: &mut dyn Output,
        front: impl FnOnce(&mut Sink<Record>) -> Result<ControlFlow<B, T>, DriverError>,
    ) -> Result<Written<T, Digest, B>, DriverError> {
        let codec = Codec::Gzip { level: self.options.level };
        write_layer(pool, codec, Back::new(self.chunking().chunk_bytes), output, front)
    }

    const fn chunking(&self) -> Chunking {
        Chunking {
            chunk_bytes: self.options.chunk_size.0 as usize,
            min_member_bytes: self.options.min_chunk_size.0 as usize,
        }
    }

    fn front<'s>(&self, sink: &'s mut Sink<Record>) -> Front<'s> {
        Front::new(sink, self.chunking())
    }
}

fn converted((source, blob): (LayerSums, Finished<Digest>)) -> Converted {
    let annotations = [(TOC_DIGEST, blob.summary.to_string()), (UNCOMPRESSED_SIZE, blob.uncompressed_size.to_string())];
    Converted {
        digest: blob.digest,
        size: blob.size,
        diff_id: blob.diff_id,
        media_type: media_type::OCI_LAYER_GZIP,
        annotations: annotations.map(|(key, value)| (key.to_owned(), value)).into_iter().collect::<Annotations>(),
        source,
    }
}
