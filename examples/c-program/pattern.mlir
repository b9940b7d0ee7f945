// Causal attention over documents that are packed one after the other: a token
// sees what comes before it in its own document. The offsets are known when a
// plan is made.
func.func @packed(%q: tensor<?x?x?x64xf32> {sparse_attn.name = "q"},
                  %k: tensor<?x?x?x64xf32> {sparse_attn.name = "k"},
                  %v: tensor<?x?x?x64xf32> {sparse_attn.name = "v"},
                  %offsets: tensor<?x?xi32> {sparse_attn.name = "offsets"})
    -> (tensor<?x?x?x64xf32>, tensor<?x?x?xf32>) {
  %causal = sparse_attn.causal
  %document = sparse_attn.segments %offsets : tensor<?x?xi32>
  %mask = sparse_attn.intersect %causal, %document
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%mask)
      : tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>
      -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
  return %o, %lse : tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
}
