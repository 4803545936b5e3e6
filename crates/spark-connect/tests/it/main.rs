//! The client against a double of Spark that ends, loses and cuts as the real one does.
