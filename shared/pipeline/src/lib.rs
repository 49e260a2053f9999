//! Pulls, converts and pushes one image.
