//===- FilesTest.cpp - the archive, the shared library and failures -------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MadeLibrary.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Object/Archive.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace sparse_attn;

namespace {

std::string messageOf(llvm::Expected<PackagedFiles> files) {
  return files ? "" : llvm::toString(files.takeError());
}

std::string messageOf(const CompiledLibrary &library) {
  return llvm::toString(checkLibrary(library));
}

TEST(Files, FourAndNothingElse) {
  TemporaryFolder folder;
  EXPECT_EQ(messageOf(packageLibrary(makeLibrary(), makeOptions(folder))), "");
  EXPECT_EQ(folder.list(),
            (std::vector<std::string>{"libmade.a", "libmade.so", "made.h", "made.json"}));
}

// Packaging again replaces the files, and makes the same ones.
TEST(Files, AreReproducible) {
  TemporaryFolder folder, other;
  for (const TemporaryFolder *each : {&folder, &folder, &other})
    ASSERT_EQ(messageOf(packageLibrary(makeLibrary(), makeOptions(*each))), "");
  for (const char *name : {"libmade.a", "libmade.so", "made.h", "made.json"})
    EXPECT_TRUE(readFile(folder.file(name)) == readFile(other.file(name))) << name;
}

TEST(Files, FolderIsMade) {
  TemporaryFolder folder;
  PackageOptions options = makeOptions(folder);
  options.directory = folder.file("a/b");
  EXPECT_EQ(messageOf(packageLibrary(makeLibrary(), options)), "");
  EXPECT_TRUE(llvm::sys::fs::exists(folder.file("a/b/libmade.so")));
}

//===--- What is in them --------------------------------------------------===//

TEST(Files, SharedLibraryExportsTheInterfaceAlone) {
  TemporaryFolder folder;
  auto files = packageLibrary(makeLibrary(), makeOptions(folder));
  ASSERT_TRUE(static_cast<bool>(files)) << llvm::toString(files.takeError());
  auto binary = llvm::object::ObjectFile::createObjectFile(files->sharedLibrary);
  ASSERT_TRUE(static_cast<bool>(binary)) << llvm::toString(binary.takeError());
  auto *object = llvm::dyn_cast<llvm::object::ELFObjectFileBase>(binary->getBinary());
  ASSERT_TRUE(object);

  std::vector<std::string> exported;
  for (const llvm::object::ELFSymbolRef &symbol : object->getDynamicSymbolIterators()) {
    llvm::Expected<uint32_t> flags = symbol.getFlags();
    llvm::Expected<llvm::StringRef> name = symbol.getName();
    ASSERT_TRUE(flags && name);
    if (!(*flags & llvm::object::SymbolRef::SF_Undefined) && !name->empty())
      exported.push_back(name->str());
  }
  // All of runtime.h (plan_visit is called by nobody here) ...
  for (const char *name :
       {"sparse_attn_run", "sparse_attn_plan_visit", "sparse_attn_plan_visit_keys",
        "sparse_attn_last_error", "sparse_attn_library_open",
        "sparse_attn_library_descriptor", "made_library", "made_library_descriptor"})
    EXPECT_TRUE(llvm::is_contained(exported, name)) << name;
  // ... and nothing that generated code uses.
  for (llvm::StringRef name : exported)
    EXPECT_TRUE(name.starts_with("sparse_attn_") || name.starts_with("made_library"))
        << name.str();
}

TEST(Files, ArchiveHoldsKernelsAndRuntime) {
  TemporaryFolder folder;
  auto files = packageLibrary(makeLibrary(), makeOptions(folder));
  ASSERT_TRUE(static_cast<bool>(files)) << llvm::toString(files.takeError());
  auto buffer = llvm::MemoryBuffer::getFile(files->archive);
  ASSERT_TRUE(static_cast<bool>(buffer));
  auto archive = llvm::object::Archive::create(**buffer);
  ASSERT_TRUE(static_cast<bool>(archive));
  std::vector<std::string> members;
  llvm::Error error = llvm::Error::success();
  for (const auto &child : (*archive)->children(error))
    members.push_back(llvm::cantFail(child.getName()).str());
  ASSERT_FALSE(static_cast<bool>(error));
  ASSERT_GT(members.size(), 10u);
  EXPECT_EQ(members[0], "made.descriptor.o");
  EXPECT_EQ(members[1], "made.plan.o");
  auto findSymbol = [&](llvm::StringRef name) {
    auto symbol = (*archive)->findSym(name);
    return symbol && *symbol;
  };
  EXPECT_TRUE(findSymbol("made_library"));
  EXPECT_TRUE(findSymbol("sparse_attn_run"));
  // The name that a shared library is opened by would clash in a program that
  // links two archives.
  EXPECT_FALSE(findSymbol("sparse_attn_library_descriptor"));
}

// A C and a C++ program link two archives, and read both libraries.
TEST(Files, ProgramsLinkTwoArchives) {
  TemporaryFolder folder;
  ASSERT_EQ(messageOf(packageLibrary(makeLibrary("one"), makeOptions(folder))), "");
  CompiledLibrary two = makeLibrary("two");
  // Generated functions carry the library's name; here they are shared.
  two.objects.clear();
  ASSERT_NE(messageOf(packageLibrary(two, makeOptions(folder))), "");
  for (CompiledKernel &kernel : two.kernels)
    for (StepDesc &step : kernel.steps)
      step.attention.reset();
  ASSERT_EQ(messageOf(packageLibrary(two, makeOptions(folder))), "");

  std::string source = folder.file("main.c"), program = folder.file("program"), output;
  writeFile(source, R"(#include "one.h"
#include "two.h"
#include <stdio.h>
int main(void) {
  printf("%s %s %s\n", sparse_attn_kernel_name(one_kernel()),
         sparse_attn_kernel_name(one_plain_kernel()),
         sparse_attn_kernel_name(two_kernel()));
  return one_plan(NULL, NULL, NULL, NULL, NULL) != SPARSE_ATTN_INVALID_ARGUMENT;
}
)");
  for (const char *compiler : {C_COMPILER, CXX_COMPILER}) {
    bool cpp = llvm::StringRef(compiler) == CXX_COMPILER;
    std::vector<std::string> command{compiler};
    if (cpp)
      command.insert(command.end(), {"-x", "c++"});
    command.insert(command.end(),
                   {source, "-x", "none", folder.file("libone.a"),
                    folder.file("libtwo.a"), "-I" RUNTIME_INCLUDE, "-o", program,
                    "-l:libgomp.so.1", "-lpthread", "-ldl", "-lm"});
    ASSERT_EQ(runProgram(command, output), 0) << output;
    EXPECT_EQ(runProgram({program}, output), 0) << output;
    EXPECT_EQ(output, "one plain two\n");
  }
}

//===--- Failures ---------------------------------------------------------===//

TEST(Files, FailureLeavesNothing) {
  TemporaryFolder folder;
  PackageOptions options = makeOptions(folder);
  options.runtimeArchive = folder.file("missing.a");
  std::string message = messageOf(packageLibrary(makeLibrary(), options));
  EXPECT_EQ(message, "cannot use the runtime's archive '" + options.runtimeArchive +
                         "': No such file or directory");
  EXPECT_TRUE(folder.list().empty());

  writeFile(options.runtimeArchive, "!<arch>\nnot an archive, as it turns out");
  message = messageOf(packageLibrary(makeLibrary(), options));
  EXPECT_EQ(message.find("cannot use the runtime's archive '"), 0u) << message;
  EXPECT_EQ(folder.list(), std::vector<std::string>{"missing.a"});
}

TEST(Files, LinkerFailureIsTold) {
  TemporaryFolder folder;
  CompiledLibrary library = makeLibrary();
  library.kernels[0].steps[1].attention->classifySymbol = "nowhere_to_be_found";
  std::string message = messageOf(packageLibrary(library, makeOptions(folder)));
  EXPECT_NE(message.find("the linker '"), std::string::npos) << message;
  EXPECT_NE(message.find("nowhere_to_be_found"), std::string::npos) << message;
  EXPECT_TRUE(folder.list().empty());

  PackageOptions options = makeOptions(folder);
  options.linker = "no-such-linker";
  EXPECT_EQ(messageOf(packageLibrary(makeLibrary(), options)),
            "cannot run the linker 'no-such-linker'");
}

// Without lld the C compiler links.
TEST(Files, CompilerLinksToo) {
  TemporaryFolder folder;
  PackageOptions options = makeOptions(folder);
  options.linker = C_COMPILER;
  EXPECT_EQ(messageOf(packageLibrary(makeLibrary(), options)), "");
}

TEST(Files, UnwritableFolderIsNamed) {
  TemporaryFolder folder;
  PackageOptions options = makeOptions(folder);
  // A file where the folder should be: no one, root included, can write there.
  options.directory = folder.file("file");
  writeFile(options.directory, "");
  EXPECT_EQ(messageOf(packageLibrary(makeLibrary(), options))
                .find("cannot make the folder '" + options.directory + "': "),
            0u);
  // A folder where the header should be.
  ASSERT_FALSE(llvm::sys::fs::create_directory(folder.file("made.h")));
  EXPECT_EQ(messageOf(packageLibrary(makeLibrary(), makeOptions(folder))),
            "cannot write '" + folder.file("made.h") + "': Is a directory");
  EXPECT_EQ(folder.list(), (std::vector<std::string>{"file", "made.h"}));
}

TEST(Files, RuntimeArchiveIsFoundNearTheProgram) {
  TemporaryFolder folder;
  std::string executable = folder.file("bin/tool");
  auto missing = findRuntimeArchive(executable, *findHostArchitecture());
  ASSERT_FALSE(static_cast<bool>(missing));
  std::string message = llvm::toString(missing.takeError());
  EXPECT_EQ(message.find("the runtime's archive is not found; name it with "
                         "--runtime-archive (looked for "),
            0u)
      << message;
  ASSERT_FALSE(llvm::sys::fs::create_directory(folder.file("lib")));
  writeFile(folder.file("lib/libsparse_attn_runtime.a"), "");
  auto found = findRuntimeArchive(executable, *findHostArchitecture());
  ASSERT_TRUE(static_cast<bool>(found));
  EXPECT_EQ(*found, folder.file("lib/libsparse_attn_runtime.a"));
}

TEST(Files, RuntimeArchivesOfOtherArchitecturesLieInTheirFolders) {
  TemporaryFolder folder;
  std::string executable = folder.file("bin/tool");
  for (const CPUArchitecture *architecture : getArchitectures()) {
    if (architecture->isHost())
      continue;
    std::string place = "lib/" + architecture->getMultiarchName();
    ASSERT_FALSE(llvm::sys::fs::create_directories(folder.file(place)));
    writeFile(folder.file("lib/libsparse_attn_runtime.a"), ""); // of the host
    auto missing = findRuntimeArchive(executable, *architecture);
    ASSERT_FALSE(static_cast<bool>(missing));
    std::string debian = architecture->debianName.str();
    EXPECT_EQ(llvm::toString(missing.takeError())
                  .find("the runtime's archive for " + architecture->name.str() +
                        " is not found; install libc6-dev-" + debian +
                        "-cross libgomp1-" + debian +
                        "-cross and build sparse-attn again, or name one with "
                        "--runtime-archive (looked for "),
              0u);
    std::string archive = folder.file(place + "/libsparse_attn_runtime.a");
    writeFile(archive, "");
    auto found = findRuntimeArchive(executable, *architecture);
    ASSERT_TRUE(static_cast<bool>(found));
    EXPECT_EQ(*found, archive);
  }
}

//===--- Names ------------------------------------------------------------===//

TEST(Files, NamesMustSuitC) {
  for (const char *bad : {"", "9lives", "a-b", "_a", "na\xc3\xafve", "a b"}) {
    EXPECT_FALSE(isValidName(bad)) << bad;
    EXPECT_EQ(messageOf(makeLibrary(bad)).find("library name '"), 0u);
  }
  EXPECT_TRUE(isValidName("a9_B"));
  EXPECT_EQ(messageOf(makeLibrary("sparse_attn_x")),
            "library name 'sparse_attn_x' is the runtime's own prefix; choose another "
            "one");
  CompiledLibrary library = makeLibrary();
  library.kernels[1].name = "a.b";
  EXPECT_EQ(messageOf(library),
            "kernel 'a.b' cannot be used in C; name it with letters, digits and '_', "
            "beginning with a letter");
  library = makeLibrary();
  library.kernels[0].inputs[1].name = "q";
  EXPECT_EQ(messageOf(library), "kernel 'made' has two tensors called 'q'; give each its "
                                "own sparse_attn.name");
  library = makeLibrary();
  library.kernels.clear();
  EXPECT_EQ(messageOf(library),
            "there is no kernel to compile; write a public func.func that returns the "
            "results of sparse_attn.attention");
}

} // namespace
