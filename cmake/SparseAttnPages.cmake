# sparse_attn_page(TARGET FILE.md)
#
# Declares a page that a rule of this folder generates: ./dev docs publishes it
# and a test executes its examples.
function(sparse_attn_page target file)
  add_custom_target(${target} ALL DEPENDS "${file}")
  set_property(GLOBAL APPEND PROPERTY SPARSE_ATTN_PAGES "${file}")
  set_property(GLOBAL APPEND PROPERTY SPARSE_ATTN_PAGE_TARGETS ${target})
endfunction()
