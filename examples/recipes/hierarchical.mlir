// Hierarchical attention: the last 64 tokens, and the means of all whole chunks of 32.
!qkv = tensor<?x?x?x64xf32>
!state = tensor<?x?x?xf32>
!pooled = !sparse_attn.pooled<tensor<?x?x?x64xf32>, 32>
func.func @hierarchical(%q: !qkv {sparse_attn.name = "q"}, %k: !qkv {sparse_attn.name = "k"},
                        %v: !qkv {sparse_attn.name = "v"}) -> (!qkv, !state) {
  %near = sparse_attn.window left = 63 right = 0
  %past = sparse_attn.causal
  %pk = sparse_attn.pool %k : !qkv -> !pooled
  %pv = sparse_attn.pool %v : !qkv -> !pooled
  %o1, %l1 = sparse_attn.attention %q, %k, %v mask(%near) : !qkv, !qkv, !qkv -> !qkv, !state
  %o2, %l2 = sparse_attn.attention %q, %pk, %pv mask(%past) : !qkv, !pooled, !pooled -> !qkv, !state
  %o, %l = sparse_attn.merge %o1, %o2 lse %l1, %l2 : !qkv, !state
  return %o, %l : !qkv, !state
}
