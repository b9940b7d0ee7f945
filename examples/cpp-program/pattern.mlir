// A window over the last 1024 tokens that never loses the first four, the
// "attention sinks" of a streaming decoder. A closed form of the positions: its
// plan holds no table at any length.
func.func @longctx(%q: tensor<?x?x?x64xf32> {sparse_attn.name = "q"},
                   %k: tensor<?x?x?x64xf32> {sparse_attn.name = "k"},
                   %v: tensor<?x?x?x64xf32> {sparse_attn.name = "v"})
    -> (tensor<?x?x?x64xf32>, tensor<?x?x?xf32>) {
  %causal = sparse_attn.causal
  %window = sparse_attn.window left = 1023 right = 0
  %sink = sparse_attn.sink size = 4
  %near = sparse_attn.union %window, %sink
  %mask = sparse_attn.intersect %causal, %near
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%mask)
      : tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>
      -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
  return %o, %lse : tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
}
