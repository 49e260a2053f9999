//! The converter as a Lambda function.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    accel_converter::lambda::run().await
}
