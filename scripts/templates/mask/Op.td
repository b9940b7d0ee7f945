// @TITLE@: TODO(you): say what it keeps, in one line, formula and picture.
def SparseAttn_@CAMEL@Op : SparseAttn_PatternOp<"@SNAKE@"> {
  let summary = "keep the first `size` keys";
  let description = [{
    keep(p, j)  <=>  j < size

    Why it exists: say who uses it and where it is published.

    ```text
    size = 2      j 0 1 2 3 4      constraints
            p 0     x x . . .      (@SNAKE@_c1) 0 <= size < 2^30
            p 2     x x . . .
            p 4     x x . . .
    ```

    Example:

    ```mlir
    %m = sparse_attn.@SNAKE@ size = 2
    ```

    Invalid: `size = -1`, "size must be in [0, 2^30), got -1; use
    sparse_attn.none to keep no key".
  }];
  let arguments = (ins I64Attr:$size);
  let assemblyFormat = "`size` `=` $size attr-dict";
  let hasVerifier = 1;
}
