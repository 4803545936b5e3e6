//! Keys of an issuer that is none: made for these tests, and good for nothing else.

/// ES256: PKCS #8.
pub(super) const EC_PRIVATE: &str = "\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgOtA0Fqf1cyqPziUrGUJkQibX2YUEIWsk4ckP0ivR5JKhRANCAASo\
    ObMvYDafzgkMuQ3YyQyGwlh2PdHLogHtyRTgkwUqKwUCuIGDeJ1tqn9G/5Xu2y1ZApjx9LSOAj3iPSR6sEE9";
/// Its public key's coordinates.
pub(super) const EC_X: &str = "\
    qDmzL2A2n84JDLkN2MkMhsJYdj3Ry6IB7ckU4JMFKis";
/// The other of them.
pub(super) const EC_Y: &str = "\
    BQK4gYN4nW2qf0b_le7bLVkCmPH0tI4CPeI9JHqwQT0";
/// RS256: PKCS #1.
pub(super) const RSA_PRIVATE: &str = "\
    MIIEowIBAAKCAQEAtHUyAAZHbc3VBaRlQEcfG5zPnKviiewT4a3zqPEjZbGNqps0SWfs5qmyOiz8jKUlrYYcpwjPTFL4DzB2Fmke\
    ycEsISmXpAAuEts06/G+e0wq38nkYIefS6WBFiOC6QhnOVSR45DMDVQOeIeyvUE5LIbjah3eBURuCNeVWgUjg8nqFLhOG1h23aVp\
    BBRED3B+CR/pjz5/vPMMoUulBuN66eJYC/n2t/ZeKn+v0uv8nyuniLGTC+U0vMfEEpZWU057ju+Rh+0uSbBi4pAXy92zgEQagiX7\
    b0dEtl8tqMuEgPI5BLd3M09ikPzdGLed5M9r4j1fDA50vbnDiCjb7KT7VQIDAQABAoIBAAXYrypDidBjpQVmBla/ByG6oppJklEU\
    Gi/LVjPQviwXBMc0eIzxRkJR2KGcYAFBf3c/+1EpDqhDHuDFGepPdQ0lykN3yL8qN1PqkKwdPKXbeZ8e+BxtgGpvvf8k3uKkYE3B\
    8OkNwaKj6MUcZlzNzmekJh2DwrPqe+Mi8uaD+JrWI6UEdu6+GqruIbAOKKZMaEjLhpccFiLRBHBpAWs3CxhSgU8ZlwmdNnMI1gtx\
    7aAxqz9FmUwidLD9Rk0CRcnSgnXZMdBOKXyNVEKwcod5IY9jaPIS4evnmhgTNpHJfe8CibFcholW8QOjV35VMLjpJRsjIbi9o5kh\
    pHSs3JX20/ECgYEA3qmZE7dPdnyWRqRSQY8bNocXdJhoKnXzv9Wzo10NaFBdc9vhlz0YhqUpztQXcyGwPk7maBemlDNPyGIrK3ci\
    iIsefan8gp4hE/fxOTIcMdJpJAf8YqekBFKXEALZ3oBzG+eQfDreAIJunu6rt0ltKfY5sb1o+z60evmqB6R7u2UCgYEAz3nwXNGR\
    hw0yYwHSgM2r/T4dY7yM78yhZ8/KTgSR0qdP8gK2e9l7109oA93T1dOIj2xkKaE7XNA/T3stnF16Iolb/BWldcedUSUSaNA78PZ4\
    3nxafQtVualnZr5hz+ZWGHQ1ISWoxbp5uucjYAnuqLvokNaD6lElGnXr0rSQWTECgYBBX/ZL7aRtG4Nb1l84VHYe+mcOmrjqzpr0\
    liAaNPX8zKvDmqmPqCaNUe0GhwsjiJ6gjLXllhwYo0Ani3s1VdNT19Tp/IDhMOBxZnjy3B2fGzI3nAikRqhHhKBJ2SxywbAKX2Dy\
    uK355FHqZBUSyYI9sceawgwSyIRhHvCnMcoKaQKBgCL90NEGs0GQszfJfeQlS+V5DWHd0fM7ktk8TUVdNe7OMwiA9p/qrR1CEivc\
    xLZiZ7ywri/rNmTP5m2UO7wMc+XRPsdEK1Sy5tBhrToqLIHWP8peNLC0MbAPZxYH890pXsnfB3rgrBc0/QTNqMSwyCSDFJUg6Lyj\
    FNvimXQ+6b1xAoGBANkXr8vGaRIwo0udIbx3ax1blLwYtGgxY5p0SyrxgsHd80yGGSZOHfP37RwidmOyrubneeUjTA/fCX2IdVSA\
    NGnX4Sr2vk0dJwXoezVVxill3VKx6FZo7d8zi1jQXNDSezpGstPhPPfHVYGlLSrXZXiMtjQdzKNFiFV+m6Xt1DYR";
/// Its modulus.
pub(super) const RSA_N: &str = "\
    tHUyAAZHbc3VBaRlQEcfG5zPnKviiewT4a3zqPEjZbGNqps0SWfs5qmyOiz8jKUlrYYcpwjPTFL4DzB2FmkeycEsISmXpAAuEts0\
    6_G-e0wq38nkYIefS6WBFiOC6QhnOVSR45DMDVQOeIeyvUE5LIbjah3eBURuCNeVWgUjg8nqFLhOG1h23aVpBBRED3B-\
    CR_pjz5_vPMMoUulBuN66eJYC_n2t_ZeKn-v0uv8nyuniLGTC-U0vMfEEpZWU057ju-\
    Rh-0uSbBi4pAXy92zgEQagiX7b0dEtl8tqMuEgPI5BLd3M09ikPzdGLed5M9r4j1fDA50vbnDiCjb7KT7VQ";
