//! Compiles the published protos of Spark Connect (`proto/`, from Apache Spark, Apache-2.0) without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let protos = protox::compile(["proto/spark/connect/base.proto"], ["proto"])?;
    // The server's side is for the tests' double of Spark.
    tonic_prost_build::configure().build_server(true).bytes(".").compile_fds(protos)?;
    Ok(())
}
