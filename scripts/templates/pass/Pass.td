def @CAMEL@Pass : Pass<"@KEBAB@", "::mlir::ModuleOp"> {
  let summary = "TODO(you): what it does, in one line";
  let description = [{
    What it replaces by what, what it asks the ops, and when it does nothing.
  }];
}
